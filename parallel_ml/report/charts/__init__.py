"""Charts as SVG text that stands in an HTML page: no script, no font, nothing from outside.

Each is drawn from plain numbers and names, which are escaped here. `style.CHART_STYLE` has the colours, light and dark.
"""

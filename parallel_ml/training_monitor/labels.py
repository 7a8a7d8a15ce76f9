# ruff: noqa: RUF001 - Chinese punctuation is meant
"""What reports and messages of a monitor say, in English and in Simplified Chinese."""

from __future__ import annotations

import math
from typing import Any

_LABELS: dict[str, tuple[str, str]] = {
    "title": ("{name}: training report", "{name} 训练报告"),
    "summary": ("Summary", "概要"),
    "metrics": ("Metrics", "指标"),
    "resources": ("CPU, memory and GPU", "CPU、内存与 GPU"),
    "efficiency": ("Efficiency", "效率"),
    "parameters": ("Parameters", "参数"),
    "failure": ("What went wrong", "出错信息"),
    "what": ("what", "项目"),
    "value": ("value", "值"),
    "mean": ("mean", "平均"),
    "peak": ("peak", "峰值"),
    "how": ("how it is computed", "计算方式"),
    "model_name": ("model", "模型"),
    "status": ("status", "状态"),
    "start_time": ("started", "开始"),
    "end_time": ("ended", "结束"),
    "duration": ("duration", "用时"),
    "final_loss": ("final loss", "最终损失"),
    "final_accuracy": ("final accuracy", "最终准确率"),
    "best_epoch": ("best epoch", "最佳轮次"),
    "best_accuracy": ("best accuracy", "最佳准确率"),
    "epochs": ("epochs", "轮数"),
    "epochs_planned": ("epochs asked for", "计划轮数"),
    "error": ("error", "错误"),
    "place": ("place", "位置"),
    "cause": ("cause", "原因"),
    "advice": ("what to try", "建议"),
    "report": ("report", "报告"),
    "traceback": ("end of the traceback", "错误堆栈末尾"),
    "not_known": ("not known", "未知"),
    "no_gpu": ("no GPU here", "无 GPU"),
    "gpu_not_seen": ("not used, or not measurable here", "未使用或无法测量"),
    "no_figures": ("The training returned no figures.", "训练没有返回任何指标。"),
    "cpu": ("CPU (percent of one core)", "CPU（单核百分比）"),
    "memory": ("memory", "内存"),
    "gpu_memory": ("GPU memory", "显存"),
    "gpu_utilization": ("GPU utilisation", "GPU 利用率"),
    "epoch_time": ("time an epoch", "每轮用时"),
    "epoch_time_how": ("duration / epochs", "用时 / 轮数"),
    "after_best": ("epochs after the best one", "最佳轮次之后的训练"),
    "after_best_how": ("(epochs - best epoch) / epochs", "（轮数 - 最佳轮次）/ 轮数"),
    "cpu_use": ("use of the CPU", "CPU 利用率"),
    "cpu_use_how": ("CPU time / (duration x {cores} usable cores)", "CPU 时间 /（用时 x {cores} 个可用核）"),
    "gpu_use": ("use of the GPU", "GPU 利用率"),
    "gpu_use_how": ("mean of the samples", "采样平均值"),
    "memory_use": ("memory, peak of what is usable", "内存峰值占可用内存"),
    "memory_use_how": ("peak / {total} usable", "峰值 / 可用 {total}"),
    "completed": ("completed", "完成"),
    "failed": ("failed", "失败"),
    "interrupted": ("interrupted", "中断"),
    "running": ("running", "运行中"),
}


def label(key: str, language: str, **values: object) -> str:
    """Return a text in a language, with values in its places; a key that is not known is its own text."""
    if key not in _LABELS:
        return key
    text = _LABELS[key][1 if language == "zh" else 0]
    return text.format(**values) if values else text


def duration_text(hours: float) -> str:
    """Return a duration for people.

    >>> duration_text(0.001), duration_text(0.5), duration_text(26.5)
    ('3.6 s', '30 min 0 s', '26 h 30 min')
    """
    seconds = hours * 3600
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def value_text(value: Any) -> str:
    """Return a figure for people.

    >>> value_text(0.123456789), value_text(3), value_text(float("nan"))
    ('0.12346', '3', 'nan')
    """
    if isinstance(value, float):
        return f"{value:.5g}" if math.isfinite(value) else str(value)
    return str(value)


def memory_text(mebibytes: float) -> str:
    """Return a size for people.

    >>> memory_text(512.25), memory_text(2048)
    ('512 MiB', '2.00 GiB')
    """
    return f"{mebibytes:.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.2f} GiB"

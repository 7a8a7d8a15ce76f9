"""The server: runs as REST, as streams of news, and as a page. Needs the extra `serve`."""

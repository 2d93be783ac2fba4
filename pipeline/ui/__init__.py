"""The web page. Only this package and app.py import gradio. It keeps no state: all it shows is read from disk.

data/      the Data tab: scans, samples, preparing and pushing corpora
train/     the Train tab: set up, start, stop and watch runs
generate/  the Generate tab: complete prompts, compare revisions
gallery/   the Gallery tab: saved examples
shared/    modules that several tabs use: access, components, texts, theme, templates
gradio_import
           imports Gradio without the work that it does for editors
server/    middleware between the network and Gradio: guards, sessions, quotas; and the endpoints for programs
"""

from pipeline.ui.gradio_import import skip_stubs

skip_stubs()  # before any module of this package imports gradio

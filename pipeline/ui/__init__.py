"""The page: the only code, with app.py, that imports gradio. Holds no truth: everything shown is read from disk.

data/      the Data tab: scans, samples, preparing and pushing corpora
train/     the Train tab: set up, start, stop and watch runs
generate/  the Generate tab: complete prompts, compare revisions
gallery/   the Gallery tab: kept examples
shared/    what several tabs use: access, components, texts, theme, templates
server/    what stands between the network and Gradio: guards, sessions, quotas; the endpoints for programs
"""

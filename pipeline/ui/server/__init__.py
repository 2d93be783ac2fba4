"""What stands between the network and Gradio. Every module but `launch` and `api` is ASGI middleware or serves one.

launch          how the page is served, and what starts once it answers
connections     limits on connections that send nothing, or bodies in chunks
headers         the Content-Security-Policy and its kind, on every answer
guards          what every request must pass: host, origin, path, rate, size
rates           how many requests an address may send
sign_in         unlock, lock and who, over plain HTTP
events          what a post to an event must be
sessions        whose session it is; what becomes of those whose visitor is gone
session_states  the states of sessions, small
page_cache      the rendered page, kept
api             endpoints for programs: preview, start, stop, status, generate, revisions, examples
"""

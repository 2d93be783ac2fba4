"""Middleware between the network and Gradio. Every module but `launch`, `see_frame`, `api` and `tools` is ASGI middleware or
part of one.

launch          serves the page, and starts background work once it answers
connections     limits on connections that send no request, and on chunked bodies
headers         the Content-Security-Policy and other security headers of every response
guards          checks of every request: host, origin, path, rate, size
rates           request limits per visitor
sign_in         unlock, lock and who, over plain HTTP
events          validation of posts to Gradio's events
sessions        ownership of sessions, and cleanup after visitors who left
session_states  session states without Gradio's copies of components
changes         GET /studio/changes: whether what the page shows has changed
see_frame       GET /studio/see: the document in whose sandbox a visitor's browser runs a program
downloads       GET /studio/example/ID.py and ID.ipynb
link_cards      the tags and images that other sites show for a link
card_image      draws the image of an example
page_cache      a cache of the rendered page
api             endpoints for programs
tools           the same as tools of an MCP server
"""

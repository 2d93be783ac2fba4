"""Design tokens, one source of truth for light and dark, and the Gradio theme built from them.

`tests/ui/shared/test_theme.py` checks the contrast of every pair that is used.
"""

from __future__ import annotations

import inspect

import gradio as gr
from gradio.themes.utils import colors, fonts, sizes

TOKENS: dict[str, tuple[str, str]] = {
    # name: (light, dark)
    "canvas": ("#F6F8F7", "#0D100F"),
    "surface": ("#FFFFFF", "#141817"),
    "sunken": ("#F1F4F2", "#0F1312"),
    "hover": ("#E9EEEB", "#1E2422"),
    "line": ("#E0E5E2", "#272E2B"),
    "line-strong": ("#838D89", "#68736F"),
    "ink": ("#131816", "#EBF0EE"),
    "ink-2": ("#46504C", "#B3BDB9"),
    "ink-3": ("#5F6A66", "#8F9A96"),
    "accent": ("#0A7557", "#4FD1A7"),
    "accent-hover": ("#075E46", "#74E0BD"),
    "accent-ink": ("#FFFFFF", "#04231A"),
    "accent-soft": ("#E0F2EB", "#13302A"),
    "warn": ("#8A4B00", "#F2B45C"),
    "warn-soft": ("#FFF1DC", "#33250E"),
    "bad": ("#B3261E", "#FF9A91"),
    "bad-soft": ("#FDECEA", "#3A1815"),
    # Series of the charts; validation is also dashed, so that colour is never the only difference.
    "series-train": ("#2563C4", "#78AEFF"),
    "series-val": ("#B35309", "#FFB061"),
    "series-rate": ("#7545BD", "#BFA3FF"),
    "series-speed": ("#0A7557", "#4FD1A7"),
    "syn-keyword": ("#8A2FA8", "#D7A3F2"),
    "syn-string": ("#156B3A", "#8FD6A0"),
    "syn-number": ("#9A4600", "#F3B27A"),
    "syn-comment": ("#5F6A66", "#8F9A96"),
    "syn-name": ("#1D57B0", "#8FBBFF"),
    # Probabilities of tokens, from sure to unsure: one hue, ordered by luminance.
    "prob-1": ("#FBEBDD", "#2B2118"),
    "prob-2": ("#F7D3B2", "#46301C"),
    "prob-3": ("#F0B27C", "#6B4520"),
    "mark": ("#FFE7A0", "#55440F"),
    "mark-line": ("#8A6300", "#E5BD4A"),
}

SCALE = sizes.Size(name="studio", xxs="11px", xs="12px", sm="13px", md="14px", lg="16px", xl="20px", xxl="28px")
GAPS = sizes.Size(name="studio", xxs="2px", xs="4px", sm="6px", md="8px", lg="12px", xl="16px", xxl="24px")
CORNERS = sizes.Size(name="studio", xxs="2px", xs="3px", sm="4px", md="6px", lg="8px", xl="10px", xxl="12px")

_SETTABLE = inspect.signature(gr.themes.Base.set).parameters
COLOURS = {
    "body_background_fill": "canvas",
    "body_text_color": "ink",
    "body_text_color_subdued": "ink-3",
    "background_fill_primary": "surface",
    "background_fill_secondary": "sunken",
    "block_background_fill": "transparent",
    "panel_background_fill": "transparent",
    "block_border_color": "line",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "block_title_text_color": "ink",
    "block_label_text_color": "ink-2",
    "block_info_text_color": "ink-3",
    "color_accent": "accent",
    "color_accent_soft": "accent-soft",
    "link_text_color": "accent",
    "link_text_color_hover": "accent-hover",
    "link_text_color_active": "accent",
    "link_text_color_visited": "accent",
    "code_background_fill": "sunken",
    "accordion_text_color": "ink",
    "input_background_fill": "surface",
    "input_background_fill_focus": "surface",
    "input_background_fill_hover": "surface",
    "input_border_color": "line-strong",
    "input_border_color_hover": "ink-3",
    "input_border_color_focus": "accent",
    "input_placeholder_color": "ink-3",
    "slider_color": "accent",
    "loader_color": "accent",
    "checkbox_background_color": "surface",
    "checkbox_background_color_selected": "accent",
    "checkbox_border_color": "line-strong",
    "checkbox_border_color_selected": "accent",
    "checkbox_border_color_focus": "accent",
    "checkbox_border_color_hover": "ink-3",
    "checkbox_label_background_fill": "surface",
    "checkbox_label_background_fill_hover": "hover",
    "checkbox_label_background_fill_selected": "accent-soft",
    "checkbox_label_border_color": "line-strong",
    "checkbox_label_border_color_hover": "ink-3",
    "checkbox_label_border_color_selected": "accent",
    "checkbox_label_text_color": "ink",
    "checkbox_label_text_color_selected": "ink",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "accent-hover",
    "button_primary_border_color": "accent",
    "button_primary_border_color_hover": "accent-hover",
    "button_primary_text_color": "accent-ink",
    "button_primary_text_color_hover": "accent-ink",
    "button_secondary_background_fill": "surface",
    "button_secondary_background_fill_hover": "hover",
    "button_secondary_border_color": "line-strong",
    "button_secondary_border_color_hover": "ink-3",
    "button_secondary_text_color": "ink",
    "button_secondary_text_color_hover": "ink",
    "button_cancel_background_fill": "surface",
    "button_cancel_background_fill_hover": "bad-soft",
    "button_cancel_border_color": "bad",
    "button_cancel_border_color_hover": "bad",
    "button_cancel_text_color": "bad",
    "button_cancel_text_color_hover": "bad",
    "error_background_fill": "bad-soft",
    "error_border_color": "bad",
    "error_text_color": "bad",
    "error_icon_color": "bad",
    "table_border_color": "line",
    "table_even_background_fill": "surface",
    "table_odd_background_fill": "surface",
}
"""Variable of the Gradio theme -> design token."""


def token_css() -> str:
    """The tokens as CSS variables, for light (:root) and dark (.dark)."""
    light = "".join(f"--{name}:{pair[0]};" for name, pair in TOKENS.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in TOKENS.items())
    return f":root{{{light}color-scheme:light}}.dark{{{dark}color-scheme:dark}}"


def both(**roles: str) -> dict[str, str]:
    """The light and dark value of each Gradio variable, taken from the token that it names."""
    out = {}
    for role, name in roles.items():
        if f"{role}_dark" in _SETTABLE:
            out[role], out[f"{role}_dark"] = TOKENS.get(name, (name, name))
        else:  # a few have no dark variant: they get the CSS variable, which follows the theme
            out[role] = f"var(--{name})"
    return out


class Studio(gr.themes.Base):
    """Quiet neutral surfaces, one green accent, IBM Plex as shipped inside Gradio.

    Uses only the weights 400 and 700: the semi-bold files that Gradio ships lack most letters.
    """

    def __init__(self) -> None:
        super().__init__(
            primary_hue=colors.emerald,
            secondary_hue=colors.emerald,
            neutral_hue=colors.zinc,
            text_size=SCALE,
            spacing_size=GAPS,
            radius_size=CORNERS,
            font=(fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"),
            font_mono=(fonts.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"),
        )
        self.name = "studio"
        self.custom_css = token_css()
        self.set(**_measures(), **both(**COLOURS))


def _measures() -> dict[str, str]:
    return {
        "body_text_size": "14px",
        "layout_gap": "16px",
        "block_padding": "0px",
        "form_gap_width": "0px",
        "block_border_width": "0px",
        "block_shadow": "none",
        "block_radius": "10px",
        "container_radius": "10px",
        "block_label_text_size": "13px",
        "block_title_text_size": "13px",
        "block_title_text_weight": "700",
        "block_info_text_size": "12px",
        "input_border_width": "1px",
        "input_radius": "6px",
        "input_text_size": "14px",
        "input_padding": "7px 10px",
        "input_shadow": "none",
        "input_shadow_dark": "none",
        "button_large_radius": "6px",
        "button_medium_radius": "6px",
        "button_small_radius": "6px",
        "button_large_padding": "8px 16px",
        "button_medium_padding": "7px 14px",
        "button_small_padding": "4px 10px",
        "button_large_text_size": "14px",
        "button_medium_text_size": "14px",
        "button_small_text_size": "13px",
        "button_large_text_weight": "700",
        "button_medium_text_weight": "700",
        "button_small_text_weight": "400",
        "button_border_width": "1px",
        "checkbox_label_padding": "5px 12px",
        "checkbox_label_gap": "6px",
        "checkbox_label_text_size": "13px",
        "checkbox_label_border_width": "1px",
        "checkbox_shadow": "none",
        "button_transition": "background-color .12s, border-color .12s, color .12s",
    }

"""What a page does before it has been read in full, and what it leaves for afterwards.

The theme's script sets light or dark, and the answers are folded, when the whole page is there: on a slow telephone
after seconds, and later still if MathJax comes first, whose typesetting takes longer than all the rest. So a page
chooses its theme and folds its answers at once, by a script in its head, and asks for MathJax last, which then sets a
few formulas at a time, so that widgets answer meanwhile. Should another script not come, nothing stays folded.
"""

from sphinx.application import Sphinx

LATER = "text/x-later"  # the type, in `mathjax_options`, of a script that a browser leaves alone
AT_ONCE = 16  # formulas, between which the page may answer
SCRIPT = f"""
{{
  const root = document.documentElement;  // the theme writes this script twice, which does no harm
  if (!['light', 'dark'].includes(root.dataset.theme))
    root.dataset.theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  root.classList.add('attnlib-folding');
  const set = async () => {{
    const formulas = [...document.querySelectorAll('.math')];
    while (formulas.length) {{
      await MathJax.typesetPromise(formulas.splice(0, {AT_ONCE}));
      await new Promise((go) => setTimeout(go));
    }}
  }};
  document.addEventListener('DOMContentLoaded', () => {{
    setTimeout(() => root.classList.remove('attnlib-folding'));
    if (window.MathJax) MathJax.startup = {{ pageReady: set }};
    for (const later of document.querySelectorAll('script[type="{LATER}"]')) {{
      const script = document.createElement('script');
      script.src = later.src;
      later.replaceWith(script);
    }}
  }});
}}
"""


def begin(app: Sphinx) -> None:
    app.add_js_file(None, body=SCRIPT, priority=100)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", begin)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

# Runs in the visitor's browser. The value of its last line is the function that worker.js calls.
import io
import linecache
import sys
import traceback

NAME = "program.py"
DPI = 96


def start(code, max_plots, max_plot_bytes):
    """Run `code`. Returns the PNG files of its figures, and whether it failed; what it prints goes to stdout and stderr."""
    plots = []

    def draw(*_, **__):
        """In place of plt.show: keep the figures that are open, and close them."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        for number in pyplot.get_fignums() if pyplot else []:
            if len(plots) < max_plots:
                file = io.BytesIO()
                pyplot.figure(number).savefig(file, format="png", dpi=DPI)
                if file.tell() > max_plot_bytes:
                    print(f"figure {number} is larger than {max_plot_bytes:,} bytes and is not shown", file=sys.stderr)
                else:
                    plots.append(file.getvalue())
        if pyplot:
            pyplot.close("all")

    try:
        import matplotlib.pyplot

        matplotlib.pyplot.show = draw
    except ImportError:
        pass  # the program's own import says so
    linecache.cache[NAME] = len(code), None, code.splitlines(True), NAME
    failed = not _is_finished(lambda: exec(compile(code, NAME, "exec"), {"__name__": "__main__"}))
    failed |= not _is_finished(draw)
    sys.stdout.flush()
    sys.stderr.flush()
    return plots, failed


def _is_finished(step):
    """Whether `step` came to its end. Prints the traceback of the program's own lines otherwise."""
    try:
        step()
    except SystemExit:
        return True
    except BaseException as error:
        frames = error.__traceback__
        while frames and frames.tb_frame.f_code.co_filename != NAME:
            frames = frames.tb_next
        traceback.print_exception(type(error), error, frames, limit=-20)
        return False
    return True


start  # noqa: B018

"""Write `synckairos_client/generated`: `python clients/python/scripts/generate.py`, or `make python-client`."""

import shutil

from shared_modules import TARGET, render_shared_modules


def render_files() -> dict[str, str]:
    """Return the text of all generated files by their path below `synckairos_client/generated`."""
    return render_shared_modules()


def main() -> None:
    """Replace the folder `generated`."""
    shutil.rmtree(TARGET, ignore_errors=True)
    for path, text in render_files().items():
        (TARGET / path).parent.mkdir(parents=True, exist_ok=True)
        (TARGET / path).write_text(text)


if __name__ == "__main__":
    main()

"""The static files under `/docs`: the pages of the documentation, and the files that they use."""

from collections.abc import Sequence
from pathlib import Path

from synckairos.http.documentation.site import DocumentationSite
from synckairos.http.page_files import PageFiles, page_folder


class DocumentationFiles(PageFiles):
    """The pages of a site, the scripts and styles of its pages, and the images and examples of the folder `docs`."""

    def __init__(
        self, site: DocumentationSite, folder: Path, root_path: str, page_headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        """Take the pages, the folder `docs`, the public sub-path, and the headers of all responses."""
        super().__init__(page_folder("docs"), root_path, page_headers)
        self._site = site
        self.all_directories = [*self.all_directories, folder]

    async def find_page(self, path: str) -> bytes | None:
        """Return a page of the site, or the search index. None if `path` is none of both."""
        return await self._site.read_page("" if path == "." else path)

"""What holds for the book as one file: named, with each page in its contents and a cover; pages well formed, each
picture and style sheet in it, pictures described, identifiers unique, formulas as MathML, no script."""

import os
import zipfile
from pathlib import Path
from xml.etree import ElementTree


def look_into(path: Path, pages: list[str]) -> set[str]:
    """Check an EPUB, in which these pages must be; gives the files that hold formulas."""
    with zipfile.ZipFile(path) as book:
        names = set(book.namelist())
        assert book.read("mimetype") == b"application/epub+zip"
        assert {f"{page}.xhtml" for page in pages} <= names
        package, contents = (book.read(name).decode() for name in ("content.opf", "nav.xhtml"))
        assert "<dc:title>Attention, running</dc:title>" in package
        assert "unknown" not in package
        assert 'properties="cover-image"' in package
        assert [page for page in pages if f"{page}.xhtml" not in contents] == []
        identifier = ElementTree.fromstring(package).findtext(".//{http://purl.org/dc/elements/1.1/}identifier")
        assert f'<meta name="dtb:uid" content="{identifier}"/>' in book.read("toc.ncx").decode()
        kinds = properties(ElementTree.fromstring(package))
        for name in sorted(names):
            if name.endswith(".xhtml"):
                page = book.read(name)
                check_page(name, ElementTree.fromstring(page), names)
                assert ("mathml" in kinds[name]) == (b"<math" in page), name
        return {name for name, held in kinds.items() if "mathml" in held}


def properties(package: ElementTree.Element) -> dict[str, list[str]]:
    """What the list of files says of each page."""
    items = package.iter("{http://www.idpf.org/2007/opf}item")
    return {item.attrib["href"]: item.attrib.get("properties", "").split() for item in items}


def check_page(name: str, tree: ElementTree.Element, names: set[str]) -> None:
    tag = "{http://www.w3.org/1999/xhtml}"
    assert not tree.findall(f".//{tag}script"), f"{name} holds a script"
    ids = [node.attrib["id"] for node in tree.iter() if "id" in node.attrib]
    assert sorted(ids) == sorted(set(ids)), f"{name}: {[each for each in ids if ids.count(each) > 1][:3]} twice"
    for sheet in tree.iter(f"{tag}link"):
        place = os.path.normpath(Path(name).parent / sheet.attrib["href"])
        assert sheet.attrib["rel"] != "stylesheet" or place in names, f"{name}: no {place}"
    for image in (each for each in tree.iter(f"{tag}img") if "toggler" not in each.attrib.get("class", "")):
        place = os.path.normpath(Path(name).parent / image.attrib["src"])
        assert place in names, f"{name}: no {place}"
        assert len(image.attrib.get("alt", "").split()) > 2, f"{name}: {place} is not described"
    for title in tree.iter(f"{tag}summary"):
        assert title.find(f"{tag}p") is None, f"{name}: a folded cell has a paragraph for a title"
    for formula in tree.iter(f"{tag}span"):
        assert "\\(" not in (formula.text or ""), f"{name}: a formula as plain TeX"

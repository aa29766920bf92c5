"""Write every generated page of the reference."""

from docs.generate.pages import PAGES, REFERENCE

for name, make in PAGES.items():
    path = REFERENCE / name
    path.write_text(make())
    print(f"wrote {path}")

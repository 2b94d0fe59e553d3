"""One adapter per kind of panel: the paths that it may request, and how to read its answers. Pure."""

from . import hiddify, marzban, marzneshin, pasarguard, remnawave, three_x_ui
from .asking import Adapter, Found

ADAPTERS: dict[str, Adapter[Found]] = {
    module.ADAPTER.kind: module.ADAPTER
    for module in (three_x_ui, marzban, pasarguard, marzneshin, remnawave, hiddify)
}

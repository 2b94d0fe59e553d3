"""One adapter per kind of panel: the paths that it may request, and how to read its answers. Pure."""

from . import hiddify, marzban, marzneshin, pasarguard, remnawave, three_x_ui
from .asking import Adapter

ADAPTERS: dict[str, Adapter] = {
    module.ADAPTER.kind: module.ADAPTER
    for module in (three_x_ui, marzban, pasarguard, marzneshin, remnawave, hiddify)
}

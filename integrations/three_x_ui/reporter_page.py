"""What a 3x-ui's page among the reporters asks the operator for: the server on which it counts."""

from django.http import HttpRequest
from django.template.loader import render_to_string

from operations.admin.pages import AdminPages
from traffic.models import Reporter

from . import key_options


def server(request: HttpRequest, reporter: Reporter) -> str:
    if reporter.kind != Reporter.Kind.INFORM or reporter.api_key is None:
        return ""
    context = {
        "key": reporter.api_key,
        "server": reporter.api_key.options.get(key_options.SERVER.name, ""),
        "may_choose": request.user.has_perm("operations.change_apikey"),
    }
    return render_to_string("admin/three_x_ui/server.html", context)


PAGES = AdminPages(panels=(server,))

from typing import Any

from django import template
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse

from traffic.cells import change, moment, signed_size, size
from traffic.logs import masked

register = template.Library()
register.filter("size", size)
register.filter("signed_size", signed_size)
register.filter("moment", moment)
register.filter("masked", masked)
register.filter("change", change)


@register.simple_tag
def action_url(opts: Any, name: str, obj: Model) -> str:
    """The page ``name`` of an object."""
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=[quote(obj.pk)])

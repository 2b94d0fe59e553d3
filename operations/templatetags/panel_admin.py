from typing import Any

from django import template
from django.contrib.admin.templatetags.admin_modify import submit_row
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse

from operations.formatting import change, gigabytes, last_day, moment, signed_size, size
from operations.hosts import bracketed
from operations.masks import masked

register = template.Library()
register.filter("size", size)
register.filter("bracketed", bracketed)
register.filter("signed_size", signed_size)
register.filter("moment", moment)
register.filter("gigabytes", gigabytes)
register.filter("last_day", last_day)
register.filter("masked", masked)
register.filter("change", change)
register.inclusion_tag(
    "admin/operations/submit_line.html", takes_context=True, name="submit_buttons"
)(submit_row)


@register.simple_tag
def action_url(opts: Any, name: str, obj: Model) -> str:
    """The page ``name`` of an object."""
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=[quote(obj.pk)])

from django.urls import include, path

from .urls_without_traffic import urlpatterns as without

urlpatterns = [*without, path("api/xpert/", include("traffic.urls"))]

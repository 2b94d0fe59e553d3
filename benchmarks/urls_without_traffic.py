from django.contrib import admin
from django.urls import path
from drf_spectacular.views import SpectacularAPIView
from rest_framework import serializers, viewsets  # noqa: F401  any project with DRF has these loaded

urlpatterns = [path("admin/", admin.site.urls), path("schema", SpectacularAPIView.as_view())]

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import subscriptions.models
from operations.migrations import _takeover


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("traffic", "0001_squashed"),
    ]

    operations = [
        migrations.CreateModel(
            name="Edition",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("revision", models.BigIntegerField(default=subscriptions.models.new_revision)),
            ],
        ),
        migrations.CreateModel(
            name="Group",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True, verbose_name="name")),
                (
                    "subscribers",
                    models.ManyToManyField(
                        blank=True,
                        db_constraint=False,
                        related_name="subscription_groups",
                        to="traffic.subscriber",
                        verbose_name="subscribers",
                    ),
                ),
            ],
            options={
                "verbose_name": "group of subscribers",
                "verbose_name_plural": "groups of subscribers",
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="DirectConfig",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("raw", models.CharField(max_length=4096, verbose_name="link")),
                ("raw_hash", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "protocol",
                    models.CharField(editable=False, max_length=32, verbose_name="protocol"),
                ),
                ("server", models.CharField(editable=False, max_length=253, verbose_name="server")),
                ("port", models.PositiveIntegerField(editable=False, verbose_name="port")),
                (
                    "remarks",
                    models.CharField(
                        blank=True,
                        help_text="Empty = the name in the link.",
                        max_length=255,
                        verbose_name="name",
                    ),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                (
                    "position",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Empty = at the end.",
                        validators=[django.core.validators.MaxValueValidator(1000000)],
                        verbose_name="position",
                    ),
                ),
                ("added_at", models.DateTimeField(auto_now_add=True, verbose_name="added")),
                ("changed_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Only subscribers in these groups get it; empty = everyone.",
                        to="subscriptions.group",
                        verbose_name="groups",
                    ),
                ),
            ],
            options={
                "verbose_name": "direct configuration",
                "verbose_name_plural": "direct configurations",
                "ordering": ["position", "id"],
            },
        ),
        migrations.CreateModel(
            name="Source",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("url", models.CharField(max_length=2048, unique=True, verbose_name="URL")),
                (
                    "enabled",
                    models.BooleanField(
                        default=True,
                        help_text="Off: it is not fetched, and subscribers do not get its servers.",
                        verbose_name="enabled",
                    ),
                ),
                (
                    "priority",
                    models.PositiveIntegerField(
                        default=100,
                        help_text="The lowest number comes first; a server in several sources is taken from the first.",
                        validators=[django.core.validators.MaxValueValidator(1000000)],
                        verbose_name="priority",
                    ),
                ),
                (
                    "interval",
                    models.PositiveIntegerField(
                        default=60,
                        help_text="Minutes between two fetches.",
                        validators=[
                            django.core.validators.MinValueValidator(5),
                            django.core.validators.MaxValueValidator(10080),
                        ],
                        verbose_name="interval",
                    ),
                ),
                (
                    "allow_private",
                    models.BooleanField(
                        default=False,
                        help_text="Allows private addresses for this source and its servers, and an http URL.",
                        verbose_name="inside your own network",
                    ),
                ),
                ("added_at", models.DateTimeField(auto_now_add=True, verbose_name="added")),
                ("etag", models.CharField(blank=True, editable=False, max_length=255)),
                ("last_modified", models.CharField(blank=True, editable=False, max_length=64)),
                (
                    "last_fetched",
                    models.DateTimeField(editable=False, null=True, verbose_name="last fetched"),
                ),
                (
                    "last_success",
                    models.DateTimeField(editable=False, null=True, verbose_name="last success"),
                ),
                (
                    "last_error",
                    models.CharField(
                        blank=True, editable=False, max_length=32, verbose_name="last error"
                    ),
                ),
                (
                    "failures",
                    models.PositiveIntegerField(
                        default=0, editable=False, verbose_name="failures in a row"
                    ),
                ),
                (
                    "next_fetch",
                    models.DateTimeField(editable=False, null=True, verbose_name="next fetch"),
                ),
                ("claimed_until", models.DateTimeField(editable=False, null=True)),
                (
                    "milliseconds",
                    models.PositiveIntegerField(
                        editable=False, null=True, verbose_name="milliseconds"
                    ),
                ),
                (
                    "size",
                    models.PositiveIntegerField(editable=False, null=True, verbose_name="bytes"),
                ),
                (
                    "parsed",
                    models.PositiveIntegerField(editable=False, null=True, verbose_name="servers"),
                ),
                (
                    "skipped",
                    models.JSONField(default=dict, editable=False, verbose_name="lines left out"),
                ),
                ("provider_upload", models.BigIntegerField(editable=False, null=True)),
                ("provider_download", models.BigIntegerField(editable=False, null=True)),
                ("provider_total", models.BigIntegerField(editable=False, null=True)),
                ("provider_expire", models.BigIntegerField(editable=False, null=True)),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Only subscribers in these groups get it; empty = everyone.",
                        to="subscriptions.group",
                        verbose_name="groups",
                    ),
                ),
            ],
            options={
                "verbose_name": "source",
                "verbose_name_plural": "sources",
                "ordering": ["priority", "id"],
            },
        ),
        migrations.CreateModel(
            name="Node",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="nodes",
                        to="subscriptions.source",
                        verbose_name="source",
                    ),
                ),
                ("fingerprint", models.CharField(editable=False, max_length=64)),
                ("raw", models.CharField(editable=False, max_length=4096, verbose_name="link")),
                (
                    "protocol",
                    models.CharField(editable=False, max_length=32, verbose_name="protocol"),
                ),
                ("server", models.CharField(editable=False, max_length=253, verbose_name="server")),
                ("port", models.PositiveIntegerField(editable=False, verbose_name="port")),
                ("is_udp", models.BooleanField(default=False, editable=False)),
                (
                    "remarks",
                    models.CharField(
                        blank=True, editable=False, max_length=255, verbose_name="name"
                    ),
                ),
                ("position", models.PositiveIntegerField(editable=False, verbose_name="position")),
                ("first_seen", models.DateTimeField(editable=False, verbose_name="first seen")),
                ("last_seen", models.DateTimeField(editable=False, verbose_name="last seen")),
                (
                    "is_present",
                    models.BooleanField(default=True, editable=False, verbose_name="in the source"),
                ),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Only subscribers in these groups get it; empty = everyone.",
                        to="subscriptions.group",
                        verbose_name="groups",
                    ),
                ),
            ],
            options={
                "verbose_name": "server of a source",
                "verbose_name_plural": "servers of sources",
                "ordering": ["source__priority", "source_id", "position"],
                "indexes": [
                    models.Index(fields=["server", "port"], name="subscriptions_node_endpoint")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("source", "fingerprint"), name="subscriptions_node_once_a_source"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Endpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("server", models.CharField(max_length=253)),
                ("port", models.PositiveIntegerField()),
                ("state", models.CharField(choices=[("up", "up"), ("down", "down")], max_length=4)),
                ("down_since", models.DateTimeField(null=True)),
                ("latency", models.PositiveIntegerField(null=True)),
                ("loss", models.PositiveSmallIntegerField(default=0)),
                ("checked_at", models.DateTimeField()),
                ("checks", models.PositiveIntegerField(default=0)),
            ],
            options={
                "verbose_name": "endpoint",
                "verbose_name_plural": "endpoints",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("server", "port"), name="subscriptions_endpoint_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EndpointCheck",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "endpoint_id",
                        "slot",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "endpoint",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="history",
                        to="subscriptions.endpoint",
                    ),
                ),
                ("slot", models.PositiveSmallIntegerField()),
                ("at", models.DateTimeField()),
                ("latency", models.PositiveIntegerField(null=True)),
                ("loss", models.PositiveSmallIntegerField()),
            ],
            options={
                "verbose_name": "check of an endpoint",
                "verbose_name_plural": "checks of endpoints",
            },
        ),
        migrations.CreateModel(
            name="SubscriptionHit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(verbose_name="time")),
                (
                    "subscriber",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="hits",
                        to="traffic.subscriber",
                        verbose_name="subscriber",
                    ),
                ),
                ("format", models.CharField(blank=True, max_length=16, verbose_name="format")),
                ("client", models.CharField(max_length=32, verbose_name="app")),
                ("status", models.PositiveSmallIntegerField(verbose_name="status")),
                ("milliseconds", models.PositiveIntegerField(verbose_name="milliseconds")),
                ("address", models.CharField(blank=True, max_length=39, verbose_name="network")),
            ],
            options={
                "verbose_name": "subscription request",
                "verbose_name_plural": "subscription requests",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["subscriber", "-id"], name="subscriptions_hit_newest")
                ],
            },
        ),
        migrations.RunPython(_takeover.copy("subscriptions")),
    ]

import datetime

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
from django.db import migrations, models

import traffic.fields
import traffic.models
from operations.migrations import _takeover


class Migration(migrations.Migration):
    initial = True

    dependencies = [("operations", "0001_squashed")]

    operations = [
        migrations.CreateModel(
            name="Subscriber",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "token",
                    models.CharField(
                        default=traffic.models.new_token,
                        max_length=255,
                        unique=True,
                        validators=[traffic.models.validate_token],
                        verbose_name="token",
                    ),
                ),
                ("name", models.CharField(blank=True, max_length=200, verbose_name="name")),
                ("note", models.TextField(blank=True, verbose_name="note")),
                (
                    "external_id",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="What a shop or a bot calls this subscriber; no two have the same.",
                        max_length=255,
                        verbose_name="external ID",
                    ),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                (
                    "data_limit",
                    models.BigIntegerField(
                        blank=True,
                        help_text="Bytes; empty = unlimited.",
                        null=True,
                        verbose_name="data limit",
                    ),
                ),
                (
                    "limit_reset",
                    models.CharField(
                        choices=[
                            ("never", "never"),
                            ("daily", "every day"),
                            ("weekly", "every Monday"),
                            ("monthly", "every month"),
                        ],
                        default="never",
                        max_length=10,
                        verbose_name="limit reset",
                    ),
                ),
                (
                    "reset_day",
                    models.PositiveSmallIntegerField(
                        db_default=1,
                        default=1,
                        help_text="1 to 31, for “every month”; a shorter month takes its last day.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(31),
                        ],
                        verbose_name="day of the month",
                    ),
                ),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires")),
                (
                    "reset_at",
                    traffic.fields.SecondField(
                        blank=True, editable=False, null=True, verbose_name="period restarted"
                    ),
                ),
                (
                    "hidden_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="hidden"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
            ],
            options={
                "verbose_name": "subscriber",
                "verbose_name_plural": "subscribers",
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("data_limit", None),
                            ("data_limit__range", (1, 1152921504606846976)),
                            _connector="OR",
                        ),
                        name="traffic_subscriber_data_limit_is_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reset_day__range", (1, 31))),
                        name="traffic_subscriber_reset_day_is_in_a_month",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("external_id", ""), _negated=True),
                        fields=("external_id",),
                        name="traffic_subscriber_external_id_is_unique",
                        violation_error_message="Another subscriber has this external ID.",
                    ),
                ],
                "indexes": [
                    models.Index(
                        django.db.models.functions.text.Lower("token"),
                        name="traffic_subscriber_by_token",
                    ),
                    models.Index(
                        django.db.models.functions.text.Lower("name"),
                        name="traffic_subscriber_by_name",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Balance",
            fields=[
                (
                    "subscriber",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        serialize=False,
                        to="traffic.subscriber",
                    ),
                ),
                (
                    "period_start",
                    traffic.fields.SecondField(
                        db_default=0,
                        default=datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.UTC),
                    ),
                ),
                ("period_upload", models.BigIntegerField(db_default=0, default=0, editable=False)),
                (
                    "period_download",
                    models.BigIntegerField(db_default=0, default=0, editable=False),
                ),
                ("life_upload", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("life_download", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("life_reports", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("cleaned_upload", models.BigIntegerField(db_default=0, default=0, editable=False)),
                (
                    "cleaned_download",
                    models.BigIntegerField(db_default=0, default=0, editable=False),
                ),
                (
                    "cleaned_reports",
                    models.BigIntegerField(db_default=0, default=0, editable=False),
                ),
                (
                    "corrected_upload",
                    models.BigIntegerField(db_default=0, default=0, editable=False),
                ),
                (
                    "corrected_download",
                    models.BigIntegerField(db_default=0, default=0, editable=False),
                ),
                (
                    "metered_upload",
                    models.BigIntegerField(db_default=0, default=0, editable=False),
                ),
                (
                    "metered_download",
                    models.BigIntegerField(db_default=0, default=0, editable=False),
                ),
                ("last_used_at", traffic.fields.SecondField(db_index=True, null=True)),
            ],
            options={
                "verbose_name": "balance",
                "verbose_name_plural": "balances",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("life_download__range", (0, 1152921504606846976)),
                            ("life_upload__range", (0, 1152921504606846976)),
                            ("period_download__range", (0, 1152921504606846976)),
                            ("period_upload__range", (0, 1152921504606846976)),
                        ),
                        name="traffic_balance_counters",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Server",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("host", models.CharField(max_length=253, verbose_name="host")),
                ("port", models.PositiveIntegerField(verbose_name="port")),
                ("protocol", models.CharField(max_length=32, verbose_name="protocol")),
                ("name", models.CharField(blank=True, max_length=200, verbose_name="name")),
                (
                    "hidden_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="hidden"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="first seen")),
            ],
            options={
                "verbose_name": "server",
                "verbose_name_plural": "servers",
                "ordering": ["host", "port", "protocol"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("host", "port", "protocol"), name="traffic_server_unique"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Usage",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "subscriber_id",
                        "hour",
                        "server_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "subscriber",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="usage",
                        to="traffic.subscriber",
                    ),
                ),
                ("hour", traffic.fields.HourField()),
                (
                    "server",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="usage",
                        to="traffic.server",
                    ),
                ),
                ("upload", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("download", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("reports", models.IntegerField(default=0, editable=False)),
                ("last_used_at", traffic.fields.SecondField()),
            ],
            options={
                "verbose_name": "usage",
                "verbose_name_plural": "usage",
                "indexes": [
                    models.Index(
                        fields=["server", "hour", "subscriber"], name="traffic_usage_by_server"
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("download__range", (0, 1152921504606846976)),
                            ("upload__range", (0, 1152921504606846976)),
                        ),
                        name="traffic_usage_counters",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ServerUsage",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "server_id",
                        "hour",
                        "slot",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "server",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="sums",
                        to="traffic.server",
                    ),
                ),
                ("hour", traffic.fields.HourField()),
                ("slot", models.SmallIntegerField(db_default=0, default=0, editable=False)),
                ("upload", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("download", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("reports", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("records", models.IntegerField(default=0, editable=False)),
            ],
            options={
                "verbose_name": "usage of a server",
                "verbose_name_plural": "usage of servers",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("download__range", (-1152921504606846976, 1152921504606846976)),
                            ("upload__range", (-1152921504606846976, 1152921504606846976)),
                        ),
                        name="traffic_serverusage_counters",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ReceivedEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "subscriber_id",
                        "event_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "subscriber",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="traffic.subscriber",
                    ),
                ),
                ("event_id", models.CharField(max_length=64)),
                ("received", traffic.fields.HourField(db_index=True)),
            ],
            options={
                "verbose_name": "received event",
                "verbose_name_plural": "received events",
            },
        ),
        migrations.CreateModel(
            name="Correction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "subscriber",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="corrections",
                        to="traffic.subscriber",
                        verbose_name="subscriber",
                    ),
                ),
                ("upload", models.BigIntegerField(verbose_name="upload")),
                ("download", models.BigIntegerField(verbose_name="download")),
                (
                    "in_period",
                    models.BooleanField(default=True, verbose_name="in the current period"),
                ),
                ("reason", models.CharField(max_length=300, verbose_name="reason")),
                ("author", models.CharField(max_length=150, verbose_name="author")),
                ("made_at", models.DateTimeField(verbose_name="time")),
                ("undone_at", models.DateTimeField(blank=True, null=True, verbose_name="undone")),
                (
                    "undone_by",
                    models.CharField(blank=True, max_length=150, verbose_name="undone by"),
                ),
            ],
            options={
                "verbose_name": "correction",
                "verbose_name_plural": "corrections",
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("download__range", (-1152921504606846976, 1152921504606846976)),
                            ("upload__range", (-1152921504606846976, 1152921504606846976)),
                        ),
                        name="traffic_correction_is_bounded",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Reporter",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "api_key",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="operations.apikey",
                        verbose_name="API key",
                    ),
                ),
                (
                    "subscriber",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reporters",
                        to="traffic.subscriber",
                        verbose_name="subscriber",
                    ),
                ),
                ("meter", models.CharField(max_length=64, verbose_name="meter")),
                (
                    "grade",
                    models.CharField(
                        choices=[
                            ("measured", "measured: an own gateway or node"),
                            ("provider", "provider: a panel's or a provider's figure"),
                            ("reported", "reported: a person's own device"),
                        ],
                        max_length=10,
                        verbose_name="grade",
                    ),
                ),
                ("first_seen_at", models.DateTimeField(verbose_name="first seen")),
                ("last_seen_at", models.DateTimeField(verbose_name="last seen")),
                (
                    "interval",
                    models.PositiveIntegerField(
                        editable=False, null=True, verbose_name="expected interval"
                    ),
                ),
                ("sources", models.JSONField(default=list, editable=False, verbose_name="sources")),
            ],
            options={
                "verbose_name": "reporter",
                "verbose_name_plural": "reporters",
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("subscriber", None)),
                        fields=("api_key", "meter"),
                        name="traffic_reporter_of_a_key",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("api_key", None)),
                        fields=("subscriber", "meter"),
                        name="traffic_reporter_of_a_person",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("api_key", None), ("subscriber", None), _connector="XOR"
                        ),
                        name="traffic_reporter_has_one_sender",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MeteredPerson",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "reporter",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="people",
                        to="traffic.reporter",
                        verbose_name="reporter",
                    ),
                ),
                ("name", models.CharField(max_length=255, verbose_name="name")),
                ("folded", models.CharField(editable=False, max_length=765)),
                (
                    "subscriber",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="traffic.subscriber",
                        verbose_name="subscriber",
                    ),
                ),
                ("first_seen_at", models.DateTimeField(verbose_name="first seen")),
            ],
            options={
                "verbose_name": "person of a reporter",
                "verbose_name_plural": "people of reporters",
                "ordering": ["name", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("reporter", "folded"), name="traffic_meteredperson_unique"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="KnownAs",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "reporter",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty = for all.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="names",
                        to="traffic.reporter",
                        verbose_name="reporter",
                    ),
                ),
                ("name", models.CharField(max_length=255, verbose_name="name")),
                ("folded", models.CharField(editable=False, max_length=765)),
                (
                    "subscriber",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="names",
                        to="traffic.subscriber",
                        verbose_name="subscriber",
                    ),
                ),
            ],
            options={
                "verbose_name": "also known as",
                "verbose_name_plural": "also known as",
                "ordering": ["name", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("folded", "reporter"), name="traffic_knownas_unique"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("reporter", None)),
                        fields=("folded",),
                        name="traffic_knownas_unique_for_all",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Meter",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "subscriber_id",
                        "key",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "subscriber",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="traffic.subscriber",
                    ),
                ),
                ("key", models.CharField(max_length=32)),
                ("run", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("upload", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("download", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("counted_upload", models.BigIntegerField(db_default=0, default=0, editable=False)),
                (
                    "counted_download",
                    models.BigIntegerField(db_default=0, default=0, editable=False),
                ),
                ("read_at", traffic.fields.SecondField(null=True)),
                (
                    "reporter",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="traffic.reporter",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="traffic.meteredperson",
                    ),
                ),
                (
                    "server",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="traffic.server",
                    ),
                ),
            ],
            options={
                "verbose_name": "meter",
                "verbose_name_plural": "meters",
            },
        ),
        migrations.CreateModel(
            name="SetAside",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "subscriber",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="set_aside",
                        to="traffic.subscriber",
                        verbose_name="subscriber",
                    ),
                ),
                (
                    "server",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="traffic.server",
                        verbose_name="server",
                    ),
                ),
                (
                    "reporter",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="traffic.reporter",
                        verbose_name="reporter",
                    ),
                ),
                ("upload", models.BigIntegerField(verbose_name="upload")),
                ("download", models.BigIntegerField(verbose_name="download")),
                ("moment", traffic.fields.SecondField(verbose_name="time")),
                ("noticed_at", models.DateTimeField(verbose_name="noticed")),
                (
                    "decision",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "to be decided"),
                            ("counted", "counted"),
                            ("dropped", "dropped"),
                            ("refused", "refused"),
                        ],
                        default="",
                        max_length=10,
                        verbose_name="decision",
                    ),
                ),
                ("decided_at", models.DateTimeField(blank=True, null=True, verbose_name="decided")),
                (
                    "decided_by",
                    models.CharField(blank=True, max_length=150, verbose_name="decided by"),
                ),
            ],
            options={
                "verbose_name": "traffic set aside",
                "verbose_name_plural": "traffic set aside",
                "ordering": ["-id"],
            },
        ),
        migrations.RunPython(_takeover.copy("traffic")),
    ]

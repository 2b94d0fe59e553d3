import django.db.models.deletion
from django.db import migrations, models

from operations.migrations import _takeover


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.RunPython(_takeover.set_aside),  # no way back: see script/install
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("report", "report: post reports"),
                            ("read", "read: statistics"),
                            ("manage", "manage: everything"),
                            ("bound", "bound: one purpose alone"),
                        ],
                        max_length=10,
                        verbose_name="scope",
                    ),
                ),
                ("hash", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "hint",
                    models.CharField(editable=False, max_length=4, verbose_name="begins with"),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires")),
                (
                    "revoked_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="revoked"
                    ),
                ),
                (
                    "last_used_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="last used"
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
                "verbose_name_plural": "API keys",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(verbose_name="time")),
                ("author", models.CharField(max_length=150, verbose_name="author")),
                ("action", models.CharField(max_length=32, verbose_name="action")),
                ("target_kind", models.CharField(max_length=100, verbose_name="kind")),
                ("target_id", models.BigIntegerField()),
                ("target_name", models.CharField(blank=True, max_length=200, verbose_name="name")),
                ("changes", models.JSONField(default=dict, verbose_name="changes")),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit entries",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        fields=["target_kind", "target_id", "-id"],
                        name="operations_audit_of_target",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CommandRun",
            fields=[
                (
                    "command",
                    models.CharField(
                        max_length=64, primary_key=True, serialize=False, verbose_name="command"
                    ),
                ),
                ("began_at", models.DateTimeField(verbose_name="began")),
                ("ended_at", models.DateTimeField(verbose_name="ended")),
                ("succeeded_at", models.DateTimeField(null=True, verbose_name="last success")),
                ("error", models.CharField(blank=True, max_length=300, verbose_name="error")),
            ],
            options={
                "verbose_name": "run of a command",
                "verbose_name_plural": "state of the panel",
            },
        ),
        migrations.CreateModel(
            name="IdempotentRequest",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("caller", models.CharField(max_length=32)),
                ("key", models.CharField(max_length=64)),
                ("digest", models.CharField(max_length=64)),
                ("outcome", models.JSONField(null=True)),
                ("at", models.DateTimeField(db_index=True)),
            ],
            options={
                "verbose_name": "idempotent request",
                "verbose_name_plural": "idempotent requests",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("caller", "key"), name="operations_idempotentrequest_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Receiver",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("webhook", "webhook"),
                            ("telegram", "Telegram"),
                            ("email", "e-mail"),
                        ],
                        max_length=10,
                        verbose_name="kind",
                    ),
                ),
                ("target", models.CharField(max_length=500, verbose_name="address")),
                ("secret", models.CharField(blank=True, max_length=200, verbose_name="secret")),
                ("events", models.JSONField(default=list, verbose_name="events")),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
            ],
            options={
                "verbose_name": "receiver",
                "verbose_name_plural": "receivers",
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=200, unique=True)),
                ("event", models.CharField(max_length=32, verbose_name="event")),
                ("text", models.CharField(max_length=500, verbose_name="text")),
                ("data", models.JSONField(default=dict)),
                ("target_kind", models.CharField(blank=True, max_length=100)),
                ("target_id", models.BigIntegerField(null=True)),
                ("at", models.DateTimeField(verbose_name="time")),
                ("seen_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "verbose_name": "notification",
                "verbose_name_plural": "notifications",
                "indexes": [
                    models.Index(
                        fields=["target_kind", "target_id"], name="operations_notified_of_target"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "notification",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="operations.notification",
                        verbose_name="notification",
                    ),
                ),
                (
                    "receiver",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="operations.receiver",
                        verbose_name="receiver",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "on its way"),
                            ("delivered", "delivered"),
                            ("failed", "given up"),
                        ],
                        default="pending",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0, verbose_name="attempts")),
                (
                    "last_error",
                    models.CharField(blank=True, max_length=32, verbose_name="last error"),
                ),
                ("since", models.DateTimeField(verbose_name="since")),
                ("next_try", models.DateTimeField(verbose_name="next attempt")),
                ("delivered_at", models.DateTimeField(null=True, verbose_name="delivered")),
            ],
            options={
                "verbose_name": "delivery",
                "verbose_name_plural": "deliveries",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        fields=["receiver", "state", "next_try"], name="operations_delivery_due"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("notification", "receiver"), name="operations_delivery_once"
                    )
                ],
            },
        ),
        migrations.RunPython(_takeover.copy("operations")),
    ]

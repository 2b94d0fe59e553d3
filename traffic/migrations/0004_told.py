import django.db.models.deletion
from django.db import migrations, models

import traffic.fields


def _counter() -> "models.BigIntegerField[int, int]":
    return models.BigIntegerField(db_default=0, default=0, editable=False)


def _of(model: str, related_name: str = "+") -> "models.ForeignKey[object, object]":
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name=related_name,
        to=model,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("operations", "0001_squashed"),
        ("traffic", "0003_reporters_of_every_kind"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="reporter",
            index=models.Index(fields=["grade"], name="traffic_reporter_by_grade"),
        ),
        migrations.CreateModel(
            name="Told",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "subscriber_id",
                        "server_id",
                        "reporter_id",
                        "day",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("subscriber", _of("traffic.subscriber")),
                ("server", _of("traffic.server")),
                ("reporter", _of("traffic.reporter", "told")),
                ("day", traffic.fields.DayField()),
                ("upload", _counter()),
                ("download", _counter()),
                ("control_upload", _counter()),
                ("control_download", _counter()),
            ],
            options={
                "verbose_name": "what a reporter has told",
                "verbose_name_plural": "what reporters have told",
                "indexes": [
                    models.Index(fields=["day", "reporter"], name="traffic_told_by_day"),
                    models.Index(fields=["server", "day"], name="traffic_told_by_server"),
                ],
            },
        ),
    ]

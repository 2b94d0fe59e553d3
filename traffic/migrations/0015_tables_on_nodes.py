import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("operations", "0003_alter_receiver_kind"),
        ("traffic", "0014_resellers"),
    ]

    operations = [
        migrations.AlterField(
            model_name="knownas",
            name="reporter",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                help_text="Empty = for all.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="names",
                to="traffic.reporter",
                verbose_name="reporter",
            ),
        ),
        migrations.AlterField(
            model_name="limitbalance",
            name="limit",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="balances",
                to="traffic.serverlimit",
            ),
        ),
        migrations.AlterField(
            model_name="limitedserver",
            name="limit",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="servers",
                to="traffic.serverlimit",
            ),
        ),
        migrations.AlterField(
            model_name="meteredperson",
            name="reporter",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="people",
                to="traffic.reporter",
                verbose_name="reporter",
            ),
        ),
        migrations.AlterField(
            model_name="nextplan",
            name="plan",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="traffic.plan",
                verbose_name="plan",
            ),
        ),
        migrations.AlterField(
            model_name="reporter",
            name="api_key",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="operations.apikey",
                verbose_name="API key",
            ),
        ),
        migrations.AlterField(
            model_name="serverlimit",
            name="plan",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                help_text="Only subscribers with this plan; empty = all.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="server_limits",
                to="traffic.plan",
                verbose_name="plan",
            ),
        ),
    ]

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("marzban", "0004_panel_in_words"),
    ]

    operations = [
        migrations.AlterField(
            model_name="handedusage",
            name="link",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="marzban.panellink",
            ),
        ),
        migrations.AlterField(
            model_name="handover",
            name="link",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="batches",
                to="marzban.panellink",
                verbose_name="linked panel",
            ),
        ),
        migrations.AlterField(
            model_name="panelidentity",
            name="link",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="identities",
                to="marzban.panellink",
                verbose_name="linked panel",
            ),
        ),
    ]

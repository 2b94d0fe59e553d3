from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("subscriptions", "0011_templates"),
        ("traffic", "0013_device_limit"),
    ]

    operations = [
        migrations.AlterField(
            model_name="group",
            name="plans",
            field=models.ManyToManyField(
                blank=True,
                db_constraint=False,
                help_text="When one of these plans is applied to subscribers, they join this group and leave those that the plan does not have. A plan in no group leaves them where they are.",
                related_name="subscription_groups",
                to="traffic.plan",
                verbose_name="plans",
            ),
        ),
    ]

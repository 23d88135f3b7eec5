from django.db import migrations, models

import opencode_sessions.django.artifacts.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="ArtifactRow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("artifact_id", models.CharField(max_length=64, unique=True)),
                ("place", models.CharField(max_length=64, unique=True)),
                ("message_hash", models.CharField(db_index=True, max_length=64)),
                ("record_hash", models.CharField(db_index=True, max_length=64)),
                ("history", models.CharField(db_index=True, max_length=64)),
                ("kind", models.CharField(max_length=16)),
                ("size", models.BigIntegerField()),
                ("message", models.TextField(blank=True)),
                ("record", models.TextField(blank=True)),
                ("path", models.TextField(blank=True)),
                ("reason", models.TextField(blank=True)),
                ("name", models.TextField(blank=True)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("signature", models.CharField(blank=True, max_length=64)),
                ("media_type", models.CharField(blank=True, max_length=255)),
                ("part_id", models.CharField(blank=True, max_length=255)),
                ("author", models.CharField(blank=True, max_length=255)),
                (
                    "stored",
                    models.FileField(
                        blank=True,
                        db_index=True,
                        max_length=255,
                        storage=opencode_sessions.django.artifacts.models.artifact_storage,
                        upload_to="",
                    ),
                ),
            ],
            options={
                "db_table": "opencode_artifacts",
                "ordering": ["path"],
            },
        ),
        migrations.CreateModel(
            name="FilesDue",
            fields=[
                ("message_hash", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("record_hash", models.CharField(db_index=True, max_length=64)),
                ("message", models.TextField(blank=True)),
                ("record", models.TextField(blank=True)),
                ("folder", models.CharField(max_length=255)),
                ("job", models.JSONField()),
                ("look_at", models.BigIntegerField(db_index=True)),
            ],
            options={
                "db_table": "opencode_files_due",
                "ordering": ["look_at"],
            },
        ),
    ]

"""What a study is: its design (study.yaml), its import, its life from open to closed."""

"""What make_sample_data.py is made from: the phantoms and the bytes of each file format."""

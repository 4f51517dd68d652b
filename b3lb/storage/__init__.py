"""Where archives and videos are: a directory on a volume, or a bucket of an S3 server, behind one interface."""

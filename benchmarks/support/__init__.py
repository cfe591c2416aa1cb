"""What benchmarks, pictures of the user interface and tests share: cut data, S3 servers, a served UI and a browser."""

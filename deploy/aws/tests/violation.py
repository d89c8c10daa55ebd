"""A stack that breaks rules of both packs: it shows that a finding ends the synthesis."""

from __future__ import annotations

import sys

from aws_cdk import App, Stack, aws_s3

from deploy.aws.fleet.stage import with_rules

if __name__ == "__main__":
    app = App(outdir=sys.argv[1])
    aws_s3.Bucket(Stack(app, "bad"), "Bucket")
    with_rules(app)
    app.synth()

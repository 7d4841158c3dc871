# The API as its own description says: schemathesis makes calls out of that,
# valid ones and others, and looks at the answers.

use lib "t/lib";
use TestVMess;

chomp(our $tool = `t/tools/schemathesis`);
if (!$tool) {
    die "no schemathesis\n" if $ENV{CI};
    plan skip_all => 'no schemathesis';
}

plan "no_plan";
no_shuffle();
workers(2);

run_tests();

__DATA__

=== TEST 1: calls made out of the description
--- config
location /api/ { vmess_api main write; }
--- stream_config
vmess_users main:4m { alice %%ALICE%%; }
--- stream_client
# TRACE is nginx's to refuse.  Valid calls may be refused for what is there: an id
# that is taken, a condition that does not hold.
open my $fh, '>', "$Dir/schemathesis.toml" or die $!;
print $fh <<'END';
[phases.coverage]
unexpected-methods = ["GET", "PUT", "PATCH", "DELETE", "POST", "OPTIONS"]
[checks.negative_data_rejection]
expected-statuses = ["400", "404", "405", "409", "412", "413", "415", "422"]
END
close $fh;
my $url = 'http://127.0.0.1:' . http_port() . '/api';
my $out = `cd $Dir && $main::tool run $url/openapi.json --url $url --seed 1 \\
    --max-examples 30 --no-color --request-timeout @{[ 20 * $Scale ]} \\
    --exclude-checks positive_data_acceptance 2>&1`;
is($?, 0, 'schemathesis found nothing') or diag $out;
like($out, qr/^\s*\d\d+ generated/m, 'in many calls');
--- stream_response: 1

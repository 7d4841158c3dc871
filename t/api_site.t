# vmess_api: pages of other sites, which a browser of an administrator may have
# open, change nothing.

use lib "t/lib";
use TestVMess;
use VMess::API;

plan "no_plan";
no_shuffle();

sub call {
    my ($method, $path, %headers) = @_;
    my $body = delete $headers{body};
    return VMess::API->new(connect => sub { tcp(http_port()) }, base => '')->request($method, $path, $body, %headers);
}

run_tests();

__DATA__

=== TEST 1: pages of other sites, by what browsers say
--- config
location /api/ { vmess_api main write; }
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @calls = ([POST => '/api/users/alice/kick'], [POST => '/api/users/alice/reset'],
             [PUT => '/api/users/carol', body => '{"id": "3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11"}'],
             [PATCH => '/api/users', body => '{"users": []}'], [DELETE => '/api/users/carol'], [OPTIONS => '/api/users']);

for my $how (['Sec-Fetch-Site' => 'cross-site'], ['Sec-Fetch-Site' => 'same-site'],
             ['Sec-Fetch-Site' => 'cross-site', Origin => 'http://localhost'],
             [Origin => 'http://evil.example'], [Origin => 'null'], [Origin => 'http://localhost.evil.example'],
             [Origin => 'http://localhost:81'], [Origin => 'localhost'], [Origin => 'http://xlocalhost'])
{
    for my $call (@calls) {
        my ($method, $path, @more) = @$call;
        my $a = call($method, $path, @more, @$how);
        is("$a->{status} " . ($a->{json}{error}{code} // ''), '403 CrossSite', "$method $path with @$how");
        ok(!$a->{header}{'access-control-allow-origin'}, 'no other site may read it');
    }
}
is(call(GET => '/api/users/carol')->{status}, 404, 'nobody was made');

for my $how ([], ['Sec-Fetch-Site' => 'same-origin', Origin => 'http://elsewhere'], ['Sec-Fetch-Site' => 'none'],
             [Origin => 'http://localhost'], [Origin => 'https://LOCALHOST'], ['sec-fetch-site' => 'same-origin'])
{
    my @status = map { my ($method, $path, @more) = @$_; call($method, $path, @more, @$how)->{status} } @calls;
    is("@status", '200 200 201 200 204 405', "not of other sites: @$how");
}

my $api = VMess::API->new(connect => sub { tcp(http_port()) });
for my $call (@calls[0 .. 4]) {
    my ($method, $path, %more) = @$call;
    $api->call($method, $path =~ s{^/api/}{}r, $more{body}, 'Sec-Fetch-Site' => 'cross-site');
}
is(join("\n", $api->problems), '', 'as the description says');

# to read is for browsers to forbid

is(call(GET => '/api/users', 'Sec-Fetch-Site' => 'cross-site')->{status}, 200, 'reading');

my $s = tcp(http_port());
print $s "POST /api/users/alice/kick HTTP/1.0\r\nOrigin: http://localhost\r\n\r\n";
like(slurp($s), qr/^HTTP\S+ 403 /, 'without Host no origin is known to be the same');
--- stream_response: 1

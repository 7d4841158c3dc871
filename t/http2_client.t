# The HTTP/2 client of the tests, and its gRPC messages, against the examples
# of RFC 7541 and nginx without the module.

use lib "t/lib";
use TestVMess;
use VMess::GRPC;
use VMess::HTTP2;

plan "no_plan";
no_shuffle();

# C.4 and C.6: requests, and responses that overflow a table of 256 bytes

sub raw { return map { tr/ \n//d; pack 'H*', $_ } split /,/, $_[0] }

my @request = raw('
    828684418cf1e3c2e5f23a6ba0ab90f4ff,
    828684be5886a8eb10649cbf,
    828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf');
my @response = raw('
    488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e
    919d29ad171863c78f0b97c8e9ae82ae43d3,
    4883640effc1c0bf,
    88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7
    821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed
    4ee5b1063d5007');

my $h = VMess::HPACK->new;
is(join(' ', map { @{ $h->decode($_) } } @request),
   ':method GET :scheme http :path / :authority www.example.com '
   . ':method GET :scheme http :path / :authority www.example.com '
   . 'cache-control no-cache '
   . ':method GET :scheme https :path /index.html '
   . ':authority www.example.com custom-key custom-value', 'requests');

$h = VMess::HPACK->new;
$h->{max} = 256;
is(join(' ', map { @{ $h->decode($_) } } @response),
   join(' ', ':status 302 cache-control private '
   . 'date Mon, 21 Oct 2013 20:13:21 GMT location https://www.example.com',
   ':status 307 cache-control private '
   . 'date Mon, 21 Oct 2013 20:13:21 GMT location https://www.example.com',
   ':status 200 cache-control private date Mon, 21 Oct 2013 20:13:22 GMT '
   . 'location https://www.example.com content-encoding gzip set-cookie '
   . 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'), 'responses');
is(scalar(@{ $h->{table} }), 3, 'what is left in the table');

my @pairs = map { ("n$_", 'v' x $_) } 0, 1, 126, 127, 128, 254, 255, 20000;
is_deeply(VMess::HPACK->new->decode(VMess::HPACK::encode(\@pairs)), \@pairs,
          'what we write');

for my $bad (['a cut string', '000a61'], ['no entry', 'ff20'],
             ['index 0', '80'], ['padding', '000161811f00'],
             ['a table that grows', '3fe2ff01'], ['an integer', '0001617fff'])
{
    ok(!eval { VMess::HPACK->new->decode(pack 'H*', $bad->[1]); 1 }, $bad->[0]);
}

# messages: through the codec, and what it must refuse

my $g = VMess::GRPC->new(hunk => 1000);
my $wire = $g->encode(pattern(5000));
is(unpack('H*', substr $wire, 0, 8), '00000003eb0ae807', 'a Hunk');
my ($got, $part) = ('', '');
for my $byte (split //, $wire) {
    $part .= $byte;
    $got .= $g->decode(\$part);
}
is(sha256_hex($got), sha256_hex(pattern(5000)), 'a byte at a time');
is($g->{messages}, 5, 'messages');
is(unpack('H*', VMess::GRPC->new(fields => 2, hunk => 1, empty => 1)
                    ->encode('abc')),
   '00' x 5 . '00000000060a01610a0162' . '00' x 5 . '00000000030a0163',
   'a MultiHunk, empty messages');
for my $bad (['an empty message', VMess::GRPC::message('')],
             ['a flag', VMess::GRPC::message(VMess::GRPC::field('x'), 1)],
             ['two fields', VMess::GRPC::message(VMess::GRPC::field('x') x 2)],
             ['an empty field', VMess::GRPC::message(VMess::GRPC::field(''))],
             ['another tag', VMess::GRPC::message("\x12\x01x")],
             ['a length', VMess::GRPC::message("\x0a\x05x")])
{
    my ($name, $bytes) = @$bad;
    ok(!eval { $g->decode(\$bytes); 1 }, $name);
}

run_tests();

__DATA__

=== TEST 1: requests and bodies
--- servers
app app brief
--- stream_config
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    listen 127.0.0.1:%%PORT_3%% ssl http2;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    large_client_header_buffers 4 64k;
    client_max_body_size 10m;
    root html;
    log_not_found off;
    location /app { proxy_pass http://127.0.0.1:%%app%%; }
    location /copy { add_header X-Copy $http_x_value; return 204; }
    location /trailer { alias html/page; add_trailer X-End yes; }
}
--- config
location = /alive { return 200; }
--- user_files eval
">>> page\na page\n>>> big\n" . TestVMess::pattern(3_000_000)
--- stream_client
for my $tls (0, 1) {
    my $c = VMess::HTTP2->new($tls
        ? tls(port => stream_port() + 3, SSL_alpn_protocols => ['h2'])
        : tcp(stream_port() + 2));

    my $s = $c->request(GET => '/page', end => 1);
    is($s->status, 200, 'status');
    is($s->header('content-length'), 7, 'a header');
    is($s->rest, "a page\n", 'a page');
    ok($s->ended, 'its end');
    is($c->request(HEAD => '/page', end => 1)->rest, '', 'HEAD');
    is($c->request(GET => '/none', end => 1)->status, 404, 'no page');
    is_deeply($c->request(GET => '/trailer', end => 1)->trailers,
              { 'x-end' => 'yes' }, 'trailers');
    is($c->ping, 1, 'ping');

    my $big = pattern(3_000_000);
    is(sha256_hex($c->request(GET => '/big', end => 1)->rest),
       sha256_hex($big), 'a big one') for 1 .. 2;

    # bodies: with the header, behind it, in pieces, padded
    for my $n (0, 1, 10, 16383, 16384, 16385, 65535, 65536, 1_000_000) {
        my $body = substr $big, 0, $n;
        my $want = "POST $n " . sha256_hex($body) . "\n";
        is($c->request(POST => '/app', data => $body, end => 1)->rest,
           $want, "a body of $n bytes");
        my $s = $c->request(POST => '/app', $n > 1 ? (pad => 200) : ());
        $s->send($body);
        $s->end;
        is($s->rest, $want, 'behind');
    }
    my $n = 0;
    $s = $c->request(POST => '/app', split => sub {
        $n++;
        unpack '(a1000)*', $_[0];
    });
    $s->send(substr $big, 0, 100_000);
    $s->end;
    is($s->rest, 'POST 100000 ' . sha256_hex(substr $big, 0, 100_000) . "\n",
       'in pieces');
    ok($n, 'in pieces indeed');

    # every byte that a value may have, in nginx's Huffman code
    my $bad = 0;
    for my $byte (1 .. 8, 11, 12, 14 .. 126, 128 .. 255) {
        my $value = 'value' . chr($byte) . 'value value value' x 5;
        my $s = $c->request(GET => '/copy',
                            headers => ['x-value' => $value], end => 1);
        $bad++ if ($s->header('x-copy') // '') ne $value;
    }
    is($bad, 0, 'all bytes');

    # a header of several frames
    my $value = 'long' x 8000;
    is($c->request(GET => '/copy', headers => ['x-value' => $value],
                   end => 1)->header('x-copy'), $value, 'a long header');
}
--- no_error_log
[error]


=== TEST 2: streams beside each other, windows, resets, the end
--- servers
app app
--- stream_config
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    http2_max_concurrent_streams 100;
    keepalive_requests 200;
    root html;
    location /app { proxy_pass http://127.0.0.1:%%app%%; }
}
server {
    listen 127.0.0.1:%%PORT_3%% http2;
    http2_max_concurrent_streams 2;
    keepalive_requests 3;
    root html;
    location /app { proxy_pass http://127.0.0.1:%%app%%; }
}
--- config
location = /alive { return 200; }
--- user_files eval
">>> page\na page\n>>> big\n" . TestVMess::pattern(3_000_000)
--- stream_client
my $c = VMess::HTTP2->new(tcp(stream_port() + 2));
my @s = map { $c->request(POST => "/app/$_") } 1 .. 100;
$_->send('hello') for reverse @s;
$_->end for @s;
is(join('', map { $s[$_ - 1]->rest =~ m{^POST /app/$_ .*\n5 }s ? '' : $_ }
                1 .. 100), '', 'a hundred at once');

# windows that the test gives
$c = VMess::HTTP2->new(tcp(stream_port() + 2), window => 1000, give => 0);
my ($s, $t) = map { $c->request(GET => '/big', end => 1) } 1, 2;
is(length $s->read(1000), 1000, 'as much as the window');
is($c->ping, 1, 'ping') for 1 .. 3;
is($s->h->{bytes}, 1000, 'and no more');
$s->give(500);
is(length $s->read(500), 500, 'some more');
$t->give(3_000_000);
is(length $t->rest, 3_000_000, 'the other one');
is($s->h->{bytes}, 1500, 'the first one waits');
$s->reset;
is($c->ping, 1, 'after a reset');
is($c->request(GET => '/page', end => 1)->rest, "a page\n", 'and on');

# the window of the connection
$c = VMess::HTTP2->new(tcp(stream_port() + 2), connection => 0);
$s = $c->request(GET => '/big', end => 1);
is(length $s->read(65535), 65535, 'the window of the connection');
is($c->ping, 1, 'ping') for 1 .. 3;
is($s->h->{bytes}, 65535, 'no more');
$c->give(4_000_000);
is(length $s->rest, 3_000_000 - 65535, 'the rest');

# a server that takes no body stops the client
$s = $c->request(POST => '/app', headers => ['content-length' => 999_999]);
is($s->offer('x' x 500_000, 0.3), 0, 'all is taken');
$s->reset;
is($c->ping, 1, 'after that');

# refused streams, then no more requests
$c = VMess::HTTP2->new(tcp(stream_port() + 3));
$c->run(sub { $c->{server}{3} });
is($c->{server}{3}, 2, 'a setting');
@s = map { $c->request(POST => '/app') } 1 .. 3;
is($s[2]->status, '', 'no answer');
is($s[2]->rst, VMess::HTTP2::REFUSED_STREAM, 'refused');
$_->end for @s[0, 1];
is($s[0]->status, 200, 'the others');
is($c->request(GET => '/page', end => 1)->rest, "a page\n", 'the last one');
is($c->rest, 1, 'the end');
is($c->{goaway}{code}, VMess::HTTP2::NO_ERROR, 'GOAWAY');

# what a server must refuse
$c = VMess::HTTP2->new(tcp(stream_port() + 2));
$c->put($c->frame(VMess::HTTP2::DATA, 0, 0, 'x'));
is($c->rest, 1, 'the end');
is($c->{goaway}{code}, VMess::HTTP2::PROTOCOL_ERROR, 'an error');

# reload
$c = VMess::HTTP2->new(tcp(stream_port() + 2), window => 1000);
$s = $c->request(GET => '/big', end => 1);
$s->read(1);
reload();
$c->run(sub { $c->{goaway} });
is($c->{goaway}{code}, VMess::HTTP2::NO_ERROR, 'reload');
is(length $s->rest, 2_999_999, 'the rest after it');
--- no_error_log
[error]

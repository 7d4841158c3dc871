# Early data: WebSocket's in headers and in the path, HTTPUpgrade's behind the
# request; what is not authentic is the site's.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: in Sec-WebSocket-Protocol, which is echoed as it came
--- servers
echo echo
--- stream_config
log_format l '$vmess_status $vmess_carrier $bytes_received';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- config
location = /ray { vmess_pass ray; }
--- stream_client
use MIME::Base64;
my ($f, $ws) = ws_early(to => 'echo', data => 'hello');
is($ws->status, 101, 'status');
is($f->read(5), 'hello', 'the answer');
$f->send('more');
is($f->read(4), 'more', 'frames go on');

my $echo = sub { $_[0]->head =~ /^Sec-WebSocket-Protocol: (.*)\r$/m ? $1 : '' };

# all forms of base64; the ids must contain what differs
for my $form (qw(url url-pad std std-pad)) {
    my ($v, $text);
    do {
        $v = vmess(to => 'echo');
        $text = encode_base64($v->header . $v->chunk('hello'), '');
    } until $text =~ /=$/ && $text =~ m{/} && $text =~ /\+/;
    $text =~ tr{+/}{-_} if $form =~ /url/;
    $text =~ s/=+$// unless $form =~ /pad/;
    my $ws = ws(encoded => $text);
    is($v->connect($ws, quiet => 1)->read(5), 'hello', $form);
    is($echo->($ws), $text, "echo of $form");
}

# what is no early data is not echoed, and the flow is in the frames
for my $text ('chat, superchat', '', '!', '=', 'a', '====', 'A A') {
    my $ws = ws(encoded => $text);
    my $f = flow(via => $ws, to => 'echo', data => 'hello');
    is($f->read(5), 'hello', "protocol \"$text\"");
    is($echo->($ws), '', 'no echo');
}
wait_for(sub { access_log() =~ /ok websocket/ });
--- stream_response: 1
--- no_error_log
[error]


=== TEST 2: in a header that has a name, and in the path
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /named { vmess_pass ray early_data=X-Early; }
log_not_found off;
location /ray/ { vmess_pass ray websocket; }
location /dir { vmess_pass ray; }
location = /exact { vmess_pass ray; }
--- stream_client
for my $case (['/named', 'X-Early'], ['/named', 'x-early'],
              ['/named', 'Sec-WebSocket-Protocol'],
              ['/ray/', 'path'], ['/dir/', 'path'], ['/dir', 'path'],
              ['/ray/', 'Sec-WebSocket-Protocol'], ['/dir', undef],
              ['/ray/', undef])
{
    my ($path, $in) = @$case;
    my $v = vmess(to => 'echo');
    my $bytes = $v->header . $v->chunk('hello');
    my $ws = defined $in
        ? ws(early => $bytes, early_in => $in, path => $path)
        : ws(path => $path, behind => VMess::WebSocket->frame(2, $bytes));
    is($ws->status, 101, "$path " . ($in // 'none'));
    is($v->connect($ws, quiet => 1)->read(5), 'hello', 'the flow');
    unlike($ws->head, qr/WebSocket-Protocol/, 'no echo')
        if $in && $in ne 'Sec-WebSocket-Protocol';
}

# and a query behind it
my $v = vmess(to => 'echo');
my $text = MIME::Base64::encode_base64url($v->header . $v->chunk('hello'));
my $ws = ws(path => "/ray/$text?ed=2048");
is($v->connect($ws, quiet => 1)->read(5), 'hello', 'with a query');

# deeper paths are the site's, those too that could be early data, but
# hardly are: it begins with an id of 16 bytes
is(ws(path => $_)->status, 404, $_)
    for qw(/ray/chat /ray/room/1 /dir/chat /dirchat /exact/chat /ray
           /ray/socket.io /ray/AAAAAAAAAAAAAAAAAAAA);
# without a name, its header is nothing
$v = vmess(to => 'echo');
$ws = ws(early => $v->header, early_in => 'X-Early', path => '/exact',
         behind => VMess::WebSocket->frame(2, $v->header . $v->chunk('hello')));
$v->connect($ws, quiet => 1)->read(5);
--- stream_response: hello
--- no_error_log
[error]


=== TEST 3: a header split between early data and frames, anywhere
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $bad = 0;
my $n = length(vmess(to => 'echo', pad => 3)->header);
for my $cut (1 .. $n + 30) {
    my $v = vmess(to => 'echo', pad => 3);
    my $b = $v->header . $v->chunk('hello to you');
    my $ws = ws(early => substr($b, 0, $cut));
    $ws->put($ws->frame(2, substr $b, $cut));
    $bad++ if $ws->status ne 101
        || $v->connect($ws, quiet => 1)->read(12) ne 'hello to you';
}
$bad;
--- stream_response: 0
--- no_error_log
[error]


=== TEST 4: much early data, much in frames
--- servers
sink sink
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
large_client_header_buffers 4 16k;
--- config
location = /ray { vmess_pass ray; }
--- stream_client
for my $n (1, 1800, 2048, 9000) {
    my $data = pattern(1_000_000);
    my $v = vmess(to => 'sink');
    my $b = $v->header . $v->chunk($data) . $v->finish;
    my $ws = ws(early => substr($b, 0, $n));
    $v->connect($ws, quiet => 1)->send_raw(substr $b, $n);
    is($v->read_all, '1000000 ' . sha256_hex($data) . "\n", "$n bytes");
}
--- no_error_log
[error]


=== TEST 5: what is not authentic gets the site's answer, and no trace
--- servers
echo echo
--- stream_config
log_format l '$vmess_status $vmess_carrier $status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- config
location = /site/ray { alias html/page; }
location = /ours/ray { vmess_pass ray early_data=X-Early; alias html/page; }
location /site/r/ { add_header X-A b always; log_not_found off; }
location /ours/r/ { add_header X-A b always; log_not_found off; vmess_pass ray; }
--- user_files
>>> page
a page
>>> next
next
>>> after
after
--- stream_client
my $good = vmess(to => 'echo', data => 'x');
my $f = $good->connect(ws(path => '/ours/ray'));
$f->send('hello');
$f->read(5);

my $long = vmess(to => 'echo');
my %bad = (
    'unknown' => vmess(user => 'mallory')->header,
    'replay' => $good->header,
    'replay with data' => $good->header . $good->chunk('x' x 100),
    'past' => vmess(skew => -3600)->header,
    'future' => vmess(skew => 3600)->header,
    'tag' => vmess(bad => 'tag')->header,
    'length tag' => vmess(bad => 'ltag')->header,
    'check sum' => vmess(bad => 'crc')->header,
    'header' => vmess(fnv => 1)->header,
    'noise' => pattern(100),
    'noise of 16 bytes' => pattern(16),
    'a lot of noise' => pattern(3000),
);

# one connection: the request, then another on the same
my $ask = sub {
    my ($dir, $in, $early) = @_;
    my $path = $in eq 'path' ? "/$dir/r/" : "/$dir/ray";
    my $s = tcp(http_port());
    put($s, VMess::WebSocket::request(early => $early, early_in => $in,
                                      path => $path)
            . "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
            . "GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    my $all = slurp($s);
    $all =~ s/^Date: .*\r\n//mg;
    return $all;
};

my $n = 0;
for my $name (sort keys %bad) {
    for my $in ('Sec-WebSocket-Protocol', 'X-Early', 'path') {
        my $site = $ask->('site', $in, $bad{$name});
        $n++;
        is($ask->('ours', $in, $bad{$name}), $site, "$name in $in");
        like($site, qr/next\n.*after\n$/s, 'and the connection goes on');
    }
}

# as they are logged on the side of stream
is(wait_for(sub { my @l = grep { !/^ok/ } split /\n/, access_log();
                  @l == $n }), 1, 'all were examined');
my %seen = map { $_ => 1 } split /\n/, access_log();
join ', ', sort keys %seen;
--- stream_response_like: header websocket 400, replay websocket 400, tag websocket 400, time websocket 400, unknown websocket 400
--- no_error_log
[error]


=== TEST 6: HTTPUpgrade, with and without data behind the request
--- servers
echo echo
src source 5000000
--- stream_config
log_format l '$vmess_carrier $vmess_status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    location = /ray { vmess_pass ray httpupgrade; }
}
--- config
location = /ray { vmess_pass ray; }
location /dir { vmess_pass ray; }
location = /none { vmess_pass ray websocket; alias html/page; }
--- user_files
>>> page
a page
>>> next
next
>>> after
after
--- stream_client
my $ws = ws(upgrade => 1);
is($ws->status, 101, 'before any data');
like($ws->head, qr{^Upgrade: websocket\r$}mi, 'Upgrade');
like($ws->head, qr{^Connection: upgrade\r$}mi, 'Connection');
unlike($ws->head, qr/Accept|Transfer-Encoding|Content-/i, 'nothing else');
my $f = flow(via => $ws, to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow');

for my $cut (1, 15, 16, 17, 60, 1e9) {
    my $v = vmess(to => 'echo');
    my $b = $v->header . $v->chunk('hello');
    my $ws = ws(upgrade => 1, behind => substr $b, 0, $cut);
    $ws->put(substr $b, $cut) if $cut < length $b;
    is($v->connect($ws, quiet => 1)->read(5), 'hello', "$cut bytes behind it");
}

# every byte alone
my $v = vmess(to => 'echo');
$ws = VMess::WebSocket->new(tcp(http_port()), upgrade => 1, quiet => 1);
$ws->put($_) for split //, VMess::WebSocket::request(upgrade => 1)
                           . $v->header . $v->chunk('hello');
is($v->connect($ws, quiet => 1)->read(5), 'hello', 'bytes');

# more than nginx reads with a request
my $data = pattern(3_000_000);
$v = vmess(to => 'echo');
$ws = ws(upgrade => 1, behind => $v->header . $v->chunk(substr $data, 0, 5000));
$v->connect($ws, quiet => 1);
is(sha256_hex($v->exchange(substr($data, 5000), length $data)),
   sha256_hex($data), 'both ways');

for my $version (0, 1) {
    my $via = $version ? tls(port => stream_port() + 2) : tcp(http_port());
    $f = flow(via => ws(upgrade => 1, via => $via), to => 'src');
    is(sha256_hex($f->read_eof), sha256_hex(pattern(5_000_000)), 'down');
    is($f->{ended}, 1, 'the end');
}

is(ws(upgrade => 1, path => '/dir')->status, 101, 'a prefix location');
is(ws(upgrade => 1, path => $_)->status, 404, $_) for qw(/dir/ /dirx /dir/x);
is(ws(upgrade => 1, path => '/none')->status, 200, 'not allowed there');
is(ws(upgrade => 1, via => tls(port => stream_port() + 2))->status, 101, 'TLS');
is(ws(via => tls(port => stream_port() + 2))->status, 101,
   'a key of WebSocket makes none of it there');
wait_for(sub { access_log() =~ /^httpupgrade ok$/m });
--- stream_response: 1


=== TEST 7: HTTPUpgrade with other data behind the request is the site's
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /site { alias html/page; }
location = /ours { vmess_pass ray; alias html/page; }
--- user_files
>>> page
a page
>>> next
next
>>> after
after
--- stream_client
my $next = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
my %behind = (
    'another request' => $next,
    'two requests' => "GET /next HTTP/1.1\r\nHost: a\r\n\r\n$next",
    'noise' => pattern(500),
    'noise and more' => pattern(900) . "\r\n\r\n",
    'an unknown user' => vmess(user => 'mallory')->header,
    'a bad time' => vmess(skew => -1000)->header,
    'a bad tag' => vmess(bad => 'tag')->header,
);
for my $name (sort keys %behind) {
    my %all;
    for my $path (qw(/site /ours)) {
        my $s = tcp(http_port());
        put($s, VMess::WebSocket::request(upgrade => 1, path => $path)
                . $behind{$name});
        shutdown($s, 1);
        $all{$path} = slurp($s);
        $all{$path} =~ s/^Date: .*\r\n//mg;
    }
    like($all{'/site'}, qr/a page/, 'the page');
    is($all{'/ours'}, $all{'/site'}, $name);
}


=== TEST 8: without early data the answer is 101, then silence
--- stream_config
log_format l '$vmess_status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- config
location = /ray { vmess_pass ray; alias html/page; }
--- user_files
>>> page
a page
>>> next
next
>>> after
after
--- stream_client
for my $upgrade (0, 1) {
    for my $bytes (pattern(16), vmess(user => 'mallory')->header) {
        my $ws = ws(upgrade => $upgrade);
        is($ws->status, 101, 'status');
        $ws->put($upgrade ? $bytes : $ws->frame(2, $bytes));
        is(wait_for(sub { log_count(qr/no VMess header of a known/) >= 1 }), 1,
           'refused');
        # whatever follows is read; at some point the connection ends
        for (1 .. 400) {
            my $b = pattern(1000);
            $ws->put($upgrade ? $b : $ws->frame(2, $b)) or last;
        }
        is($ws->rest, 1, 'the end');
        is($ws->h->{in}, '', 'nothing was sent') if $upgrade;
    }
}
--- error_log
of a known user: random bytes, or early data was lost on the way
--- no_error_log
[error]


=== TEST 9: a fallback gets the bytes of what is not authentic
--- servers
site tag fallback
--- stream_config
server {
    vmess_listen ray; vmess main; vmess_fallback 127.0.0.1:%%site%%;
    proxy_pass vmess_target;
}
--- config
location = /ray { vmess_pass ray; alias html/page; }
--- user_files
>>> page
a page
>>> next
next
>>> after
after
--- stream_client
for my $upgrade (0, 1) {
    my $ws = ws(upgrade => $upgrade);
    is($ws->status, 101, 'status');
    my $b = pattern(300);
    $ws->put($upgrade ? $b : $ws->frame(2, $b));
    is($ws->read(309), "fallback:$b", 'the bytes');
}
# early data that is wrong is the http site's first
my $ws = ws(early => pattern(300));
$ws->status;
--- stream_response: 200
--- no_error_log
[error]

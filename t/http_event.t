# Requests that nginx finalizes on its own, or that another location answers:
# events that come for them later, and fields with conditions.

use lib "t/lib";
use TestVMess;
use VMess::HTTP2;
use VMess::Site;
use VMess::XHTTP;

plan "no_plan";
no_shuffle();

sub h1 { return VMess::XHTTP::H1->new(tcp(stream_port() + $_[0])) }

# a client of XHTTP at %%PORT_n%%; h2 => 1

sub x {
    my ($n, %o) = @_;
    my $c = delete $o{h2} && h2(n => $n);
    return VMess::XHTTP->new(connect => sub { $c || h1($n) }, %o);
}

our @field = (
    ['if-match' => '"x"'], ['if-match' => '*'], ['if-none-match' => '*'],
    ['if-none-match' => '"x"'],
    ['if-modified-since' => 'Fri, 01 Jan 2100 00:00:00 GMT'],
    ['if-unmodified-since' => 'Thu, 01 Jan 1970 00:00:00 GMT'],
    ['range' => 'bytes=0-1'], ['range' => 'bytes=9999-'],
    ['range' => 'bytes=0-1', 'if-range' => '"x"'],
);

run_tests();

__DATA__

=== TEST 1: fields with conditions mean nothing for a session
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    listen 127.0.0.1:%%PORT_3%% http2;
    location /ray { root html; vmess_pass ray; }
    location /x { root html; vmess_pass ray; }
    location /grpc { root html; vmess_pass ray grpc; }
}
--- config
location = /alive { return 200; }
--- stream_client
my @old = children();

my $ask = sub {
    my ($rest, @field) = @_;
    my $s = tcp(stream_port() + 2);
    my $text = "PUT /ray HTTP/1.1\r\nHost: a\r\n";
    while (my ($name, $value) = splice @field, 0, 2) {
        $text .= "$name: $value\r\n";
    }
    put($s, "$text\r\n$rest");
    my $head = '';
    $head .= read_n($s, 1) // last until $head =~ /\r\n\r\n/;
    put($s, 'x' x 1000);
    shutdown $s, 1;
    slurp($s);
    return $head =~ s/^Date: .*\r\n//mr;
};

for my $rest ('abc', "3\r\nabc\r\n", "0\r\n\r\n") {
    my $plain = $ask->($rest);
    like($plain, qr{^HTTP/1\.1 200 }, 'bytes behind a PUT');
    is($ask->($rest, @$_), $plain, "with @$_") for @field;
}

for my $field (@field) {
    for my $h2 (0, 1) {
        for my $mode (qw(packet-up stream-up stream-one)) {
            my $x = x(2 + $h2, h2 => $h2, mode => $mode, headers => [@$field]);
            my $f = flow(via => $x, to => 'echo', data => 'hello');
            is($f->read(5), 'hello', "$mode, HTTP/@{[1 + $h2]}, @$field");
            is($f->exchange('again', 5), 'again', 'and on');
            is($x->down->status, 200, 'the answer');
            $f->close;
        }
    }

    my $c = h2(n => 3);
    for ([PUT => '/ray'], [POST => '/grpc/Tun', 'content-type',
                           'application/grpc', 'te', 'trailers'])
    {
        my ($method, $path, @headers) = @$_;
        my $s = $c->request($method, $path, headers => [@headers, @$field],
                            data => $method eq 'POST' ? vmess()->header : '');
        is($s->status, 200, "$method $path, @$field") if $method eq 'PUT';
        $s->reset;
    }
}

is("@{[ children() ]}", "@old", 'the workers are the same');
--- no_error_log
[alert]


=== TEST 2: for the site they mean what they did
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config eval
VMess::Site::twice(<<'END');
    listen 127.0.0.1:%%PORT_2%%;
    listen 127.0.0.1:%%PORT_4%% http2;
    server_name site;
    location /x { root html; rewrite ^ /page break; vmess_pass ray xhttp; }
END
--- user_files
>>> page
a page
--- config
location = /alive { return 200; }
--- stream_client
my %seen;
for my $field (@field, []) {
    for my $h2 (0, 1) {
        my ($site, $ours) = map {
            my $x = x($_ + 2 * $h2, h2 => $h2, late => 1, headers => [@$field]);
            my @s = ($x->get, $x->post(0, vmess(user => 'mallory')->header));
            my $text = answer($s[0]);
            $_->reset for @s;
            $text;
        } 2, 3;
        is($ours, $site, "HTTP/@{[1 + $h2]} @$field");
        $seen{$1} = 1 if $site =~ /^:status: (\d+)/m;
    }
}
is(join(' ', sort keys %seen), '200 206 304 412 416', 'all answers');
--- no_error_log
[alert]


=== TEST 3: an error page that is another location, whose client goes on
--- servers
held held
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    location /x {
        client_max_body_size 20k; error_page 404 405 413 = @app; root html;
        vmess_pass ray;
    }
    location @app {
        proxy_pass http://127.0.0.1:%%held%%; proxy_ignore_client_abort on;
    }
}
--- config
location = /status { stub_status; }
--- stream_client
my @old = children();
my $start = active();
my @s = map {
    my $x = x(2, late => 1);
    my $s = $x->request(POST => '', data => pattern(10));
    wait_for(sub { log_count(qr/connected to vmess:ray/) == $_ })
        or die 'no flow';
    $s->send(pattern(30_000));
    $s;
} 1 .. 3;
wait_for(sub { log_count(qr/no VMess header of a known user/) == 3 })
    or die 'not seen';

# what comes now is for a location that does not look
$s[0]->send(pattern(60_000));
$s[1]->send(pattern(60_000), end => 1);
$s[2]->reset;
open my $fh, '>', "$Dir/go";
like($s[1]->rest, qr/^POST .*\n90010 /s, 'an answer');
$_->reset for @s;
is(wait_for(sub { active() == $start }), 1, 'all have gone');
is("@{[ children() ]}", "@old", 'the workers are the same');
--- no_error_log
[alert]


=== TEST 4: an upload that waited, and is the site's when its time is over
--- servers
held held brief
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    location /x {
        proxy_pass http://127.0.0.1:%%held%%; proxy_ignore_client_abort on;
        vmess_pass ray;
    }
}
--- config
location = /status { stub_status; }
--- stream_client
my @old = children();
my $start = active();
my $post = sub {
    my ($x) = @_;
    my $s = $x->post(0, vmess(user => 'mallory')->header . 'x' x 20_000);
    shutdown $s->h->{c}{sock}, 1;
    return $s;
};
my $x = x(2, late => 1);
my @s = $post->($x);

# another, of a session without a download, is closed at its time, or later
my $late = $post->(x(2, late => 1));

push @s, $x->get;
my $rss = rss();
$late->wait(sub { 0 });
ok(!$late->ended, 'the other has gone');
open my $fh, '>', "$Dir/go";
like($s[0]->rest, qr/^POST 20/, 'the site has it');
like($s[1]->rest, qr/^GET 0/, 'and the GET');
cmp_ok(rss() - $rss, '<', 20_000, 'memory');
$_->reset for @s, $late;
is(wait_for(sub { active() == $start }), 1, 'all have gone');
is("@{[ children() ]}", "@old", 'the workers are the same');
--- no_error_log
[alert]


=== TEST 5: clients that go while "post_action" has more to do
--- servers
held held
echo echo
--- stream_config
log_format end 'closed';
server {
    vmess_listen ray; vmess main; vmess_handshake_timeout 1s;
    proxy_pass vmess_target; access_log %%DIR%%/stream.log end;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    location /x { root html; post_action @after; vmess_pass ray; }
    location @after {
        proxy_pass http://127.0.0.1:%%held%%;
        proxy_pass_request_body off; proxy_set_header Content-Length "";
    }
}
--- config
location = /status { stub_status; }
--- stream_client
my @old = children();
my $start = active();

# one that is not authentic, and one with a flow
my $get = x(2, late => 1)->get;
wait_for(sub { log_count(qr/connected to vmess:ray/) == 1 })
    or die 'no flow';
$get->reset;

my $x = x(2);
my $f = flow(via => $x, to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow');
$x->down->reset;
is(wait_for(sub { access_log() =~ /closed.*closed/s }), 1, 'both have ended');

open my $fh, '>', "$Dir/go";
$f->close;
is(wait_for(sub { active() == $start }), 1, 'all have gone');
is("@{[ children() ]}", "@old", 'the workers are the same');
--- no_error_log
[alert]

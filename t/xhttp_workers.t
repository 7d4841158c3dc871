# XHTTP where the requests of a session are at several workers.

use lib "t/lib";
use TestVMess;
use VMess::HTTP2;
use VMess::XHTTP;

plan "no_plan";
no_shuffle();
workers(4);

# a new connection each time, at whatever worker takes it

sub h1 { return VMess::XHTTP::H1->new(tcp(stream_port() + ($_[0] // 2))) }
sub x { return VMess::XHTTP->new(connect => sub { h1() }, fresh => 1, @_) }


# requests that workers have begun with

sub writing {
    my $s = tcp(http_port());
    put($s, "GET /status HTTP/1.0\r\n\r\n");
    my ($n) = slurp($s) =~ /Writing: (\d+)/;
    return $n;
}


# the workers that served a session, by what they logged

sub pids_of {
    my ($x) = @_;
    my $sid = $x->sid;
    my %pid = access_log('http.log') =~ m{^(\d+) \w+ /\w+/\Q$sid\E(?=[/ ])()}mg;
    return sort keys %pid;
}


# how many of the sessions were at more than one

sub spread {
    my (@x) = @_;
    wait_for(sub { !grep { !pids_of($_) } @x });
    return scalar grep { (my @p = pids_of($_)) > 1 } @x;
}


# the worker that has the session that was opened last

sub owner {
    my ($pid) = error_log() =~ /.*\[info\] (\d+)#\d+: \*\d+ client \S+ connected to vmess:/s;
    return $pid;
}


# names of the sockets where a worker listens for others

sub worker_sockets {
    my ($pid) = @_;
    my %inode = map { $_ => 1 } map { (readlink($_) // '') =~ /^socket:\[(\d+)\]/ }
                             glob "/proc/$pid/fd/*";
    open my $unix, '<', '/proc/net/unix';
    return map { /^\S+ \S+ \S+ 00010000 0001 01 +(\d+) \@([0-9a-f]{5})$/ && $inode{$1} ? $2 : () } <$unix>;
}


run_tests();

__DATA__

=== TEST 1: each mode
--- servers
echo echo
sink sink
src source 3000000
--- stream_config
log_format l '$vmess_carrier $vmess_status $status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
log_format h '$pid $request_method $uri $status';
server {
    listen 127.0.0.1:%%PORT_2%% reuseport;
    access_log %%DIR%%/http.log h;
    location /x { vmess_pass ray; }
}
server {
    listen 127.0.0.1:%%PORT_3%%;
    access_log %%DIR%%/http.log h;
    location /x { vmess_pass ray; }
}
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $data = pattern(300_000);
for my $n (2, 3) {
    my %x;
    for my $mode (qw(packet-up stream-up stream-one)) {
        for my $i (1 .. 10) {
            my $x = x(mode => $mode, connect => sub { h1($n) });
            my $f = flow(via => $x, to => 'echo', data => 'hello');
            is($f->read(5), 'hello', $mode);
            is(sha256_hex($f->exchange($data, length $data)),
               sha256_hex($data), 'both ways');
            is(join(' ', $x->bad), '', 'packets');
            $f->close;
            push @{ $x{$mode} }, $x;
        }
    }
    cmp_ok(spread(@{ $x{$_} }), '>', $n == 2 ? 3 : -1, "$_: at several workers")
        for qw(packet-up stream-up);
}

# one way
for my $mode (qw(packet-up stream-up)) {
    my @x;
    for my $i (1 .. 6) {
        my $x = x(mode => $mode);
        my $f = flow(via => $x, to => 'sink');
        $f->send($data)->end;
        is($f->read_all, '300000 ' . sha256_hex($data) . "\n", "$mode: up");
        $f->close;
        push @x, $x;

        $x = x(mode => $mode);
        $f = flow(via => $x, to => 'src');
        is(sha256_hex($f->read_eof), sha256_hex(pattern(3_000_000)), 'down');
        is($f->{ended}, 1, 'the end chunk');
        is($x->down->ended, 1, 'the end');
        $f->close;
        push @x, $x;
    }
    cmp_ok(spread(@x), '>', 1, 'at several workers');
}
is(wait_for(sub { active() == $start }), 1, 'all have gone');
is(scalar(map { worker_sockets($_) } children()), 4, 'sockets of workers, with names of the kernel');
my %seen = map { $_ => 1 } split /\n/, access_log();
join ', ', sort keys %seen;
--- stream_response: xhttp ok 200
--- no_error_log
[error]


=== TEST 2: 100 sessions with packets out of order
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
log_format h '$pid $request_method $uri $status';
server {
    listen 127.0.0.1:%%PORT_2%% reuseport;
    access_log %%DIR%%/http.log h;
    location /x { vmess_pass ray; }
}
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my @x = map { x(packet => 2000 + 100 * $_, shuffle => 2 + $_ % 6, open => 12) }
            1 .. 100;
my @f;
my $wrong = 0;
for my $i (0 .. 99) {
    my $data = substr pattern(70_000), $i, 30_000 + $i * 100;
    $f[$i] = flow(via => $x[$i], to => 'echo', data => 'x');
    $wrong++ if $f[$i]->read(1) ne 'x';
    $wrong++ if $f[$i]->exchange($data, length $data) ne $data;
    $wrong++ if $x[$i]->bad;
}
is($wrong, 0, 'as they were sent');
for my $i (reverse 0 .. 99) {
    $wrong++ if $f[$i]->exchange("again $i", 6 + length $i) ne "again $i";
}
is($wrong, 0, 'all are there');
$_->close for @f;
cmp_ok(spread(@x), '>', 90, 'at several workers');
is(wait_for(sub { active() == $start }), 1, 'all have gone');
--- no_error_log
[error]


=== TEST 3: any order, the VMess header in several packets
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
log_format h '$pid $request_method $uri $status';
server {
    listen 127.0.0.1:%%PORT_2%% reuseport;
    access_log %%DIR%%/http.log h;
    location /x { vmess_pass ray; }
}
--- config
location = /status { stub_status; }
--- stream_client
my @order = ([]);
for my $n (qw(g 0 1 2)) {
    @order = map { my $o = $_;
                   map { my @p = @$o; splice @p, $_, 0, $n; [@p] } 0 .. @$o
                 } @order;
}
my (%wrong, @x);
my $tail = pattern(20_000);
for my $order ((@order) x 3) {
    my $x = x(late => 1);
    my $v = vmess(to => 'echo', sec => 'zero');
    my @data = (substr($v->header, 0, 20), substr($v->header, 20) . 'hello',
                $tail);
    my @s = map { $_ eq 'g' ? ($x->get)[1 .. 0] : $x->post($_, $data[$_]) }
                @$order;
    my $got = $v->connect($x, quiet => 1)->read(20_005);
    $wrong{"@$order"}++ if $got ne "hello$tail";
    $wrong{"@$order"}++ if grep { $_->status ne 200 } @s;

    # again
    for my $seq (0 .. 2) {
        my $s = $x->post($seq, $seq == 2 ? $tail : 'twice');
        $wrong{"@$order, $seq again"} = 1 if $s->status ne 200;
        $s->reset;
    }
    my $s = $x->post(3, 'once');
    $wrong{'once'}++ if $v->read(4) ne 'once' || $s->status ne 200;
    $_->reset for $s, @s;
    $x->leave;
    push @x, $x;
}
is_deeply(\%wrong, {}, 'in all orders');
cmp_ok(spread(@x), '>', 50, 'at several workers');
--- no_error_log
[error]


=== TEST 4: a bad VMess header, and what comes late
--- servers
app app brief
banner banner bye
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
log_format h '$pid $request_method $uri $status';
server {
    listen 127.0.0.1:%%PORT_2%% reuseport;
    access_log %%DIR%%/http.log h;
    client_max_body_size 2m;
    location /x { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp; }
}
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $noise = pattern(300_000);
my @x;
for my $i (1 .. 4) {
    for my $bad (vmess(user => 'mallory')->header, $noise,
                 vmess(bad => 'tag')->header . $noise)
    {
        for my $order (qw(g0 0g 21-g0 g12-0 12-0g gs sg)) {
            my @data = ($bad, $noise, substr $noise, 0, 5000);
            my $x = x(late => 1);
            my (@s, @want);
            for (split //, $order) {

                # the others must be there before the first
                idle(), next if $_ eq '-';
                my $data = $_ eq 's' ? $bad : $_ eq 'g' ? '' : $data[$_];
                push @s, $_ eq 'g' ? $x->get
                         : $_ eq 's' ? $x->request(POST => $x->sid,
                                                   data => $data, end => 1)
                         : $x->post($_, $data);
                push @want, ($_ eq 'g' ? 'GET ' : 'POST ') . length($data)
                            . ' ' . sha256_hex($data) . "\n";
            }
            my $got = join '', map { $_->rest } @s;
            is($got, join('', @want), $order) if $got ne join '', @want;
            $_->reset for @s;
            push @x, $x;
        }
    }
}
cmp_ok(spread(@x), '>', 20, 'at several workers');

# a body that comes while another worker looks at it
my $body = substr $noise, 0, 1500;
for my $i (1 .. 40) {
    my $x = x(late => 1);
    my $s = $x->request(POST => $x->sid, data => '');
    my $get = $x->get;
    $s->send($_) for $body =~ /.{1,30}/gs;
    $s->end;
    my $got = $s->rest;
    is($got, 'POST 1500 ' . sha256_hex($body) . "\n", 'in pieces')
        if $got !~ /^POST 1500 /;
    like($get->rest, qr/^GET 0 /, 'the download');
    $_->reset for $s, $get;
}

# after the end, and a second download, a second stream
for my $i (1 .. 6) {
    my $x = x(mode => 'stream-up');
    my $f = flow(via => $x, to => 'banner');
    $f->_pump('', sub { length $f->{in} });
    for my $n (6, 5000, 300_000) {
        my $data = pattern($n);
        my $s = $x->request(POST => $x->sid, data => $data, end => 1);
        is($s->rest, "POST $n " . sha256_hex($data) . "\n", 'a second stream');
        $s->reset;
    }
    $f->read_eof;
    is($f->{ended}, 1, 'the end');
    wait_for(sub { $x->down->h->{c}->turn; $x->down->ended });
    for my $case (['POST', '/0'], ['POST', ''], ['GET', '']) {
        my ($method, $rest) = @$case;
        my $s = $x->request($method => $x->sid . $rest, end => 1,
                         $method eq 'POST' ? (data => 'late') : ());
        like($s->rest, qr/^$method \d /, 'late');
        $s->reset;
    }
    $f->close;
}
is(wait_for(sub { active() == $start }), 1, 'all have gone');
--- no_error_log
[alert]


=== TEST 5: reload in the middle
--- servers
echo echo
src source 20000000
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
log_format h '$pid $request_method $uri $status';
server {
    listen 127.0.0.1:%%PORT_2%%;
    access_log %%DIR%%/http.log h;
    location /x { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $data = pattern(400_000);
my @x = map { x(mode => $_, packet => 20_000, shuffle => 4, open => 10) }
            qw(packet-up packet-up packet-up stream-up stream-up stream-one);
my @f = map { flow(via => $_, to => 'echo', data => 'hello') } @x;
is($_->read(5), 'hello', 'a flow') for @f;

# a session that waits for its download, one whose VMess header is incomplete,
# and a packet that is half there
my $late = x(late => 1);
my $v = vmess(to => 'echo');
my $first = $late->post(0, $v->header . $v->chunk('late'));
my $w = vmess(to => 'echo');
my $half = x();
my $part = $half->post(0, substr $w->header, 0, 20);
my $pack = $f[0]->chunk('half a packet');
my $rest = $x[0]->post($x[0]->h->{seq}++, substr($pack, 0, 10), partial => 1,
                       length => length $pack);
my @down = map { flow(via => x(mode => $_), to => 'src') }
               qw(packet-up stream-up);
my @got = map { $_->read(100_000) } @down;

my @old = TestVMess::children();
reload();
reload();

$rest->send(substr($pack, 10), end => 1);
is($f[0]->read(13), 'half a packet', 'the other half');
is($rest->status, 200, 'its answer');
$rest->reset;
for my $i (0 .. $#f) {
    is(sha256_hex($f[$i]->exchange($data, length $data)), sha256_hex($data),
       $x[$i]->h->{mode} . ' goes on');
    is(join(' ', $x[$i]->bad), '', 'packets');
}
is(sha256_hex($got[$_] . $down[$_]->read_eof), sha256_hex(pattern(20_000_000)),
   'nothing is lost') for 0, 1;
$_->close for @down;
$late->get;
is($v->connect($late, quiet => 1)->read(4), 'late', 'a late download');
my $other = $half->post(1, substr($w->header, 20) . $w->chunk('hello'));
is($w->connect($half, quiet => 1)->read(5), 'hello', 'half a header');
is($_->status, 200, 'an answer') for $first, $part, $other;
$_->reset for $first, $part, $other;

# new sessions are at new workers
my $x = x();
my $f = flow(via => $x, to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a new session');
$_->close for $f, $v, $w, @f;

my %old = map { $_ => 1 } @old;
for my $i (0 .. 2) {
    wait_for(sub { my $sid = $x[$i]->sid;
                   access_log('http.log') =~ m{GET /x/$sid } });
    ok(scalar(grep { $old{$_} } pids_of($x[$i])), 'old workers had it');
    ok(scalar(grep { !$old{$_} } pids_of($x[$i])), 'and new ones served it');
}
is(join(' ', grep { $old{$_} } pids_of($x)), '', 'the new one');
is(wait_for(sub { workers_alive() == 4 }), 1, 'the old workers leave');
--- no_error_log
[alert]


=== TEST 6: quit in the middle
--- servers
echo echo
src source 20000000
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% reuseport;
    location /x { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
location = /status { stub_status; }
--- stream_client
my $data = pattern(400_000);
my @f = map { flow(via => x(mode => $_), to => 'echo', data => 'hello') }
            qw(stream-up stream-up stream-up stream-up stream-one);
is($_->read(5), 'hello', 'a flow') for @f;
my @down = map { flow(via => x(mode => $_), to => 'src') }
               qw(packet-up packet-up stream-up stream-one);
my @got = map { $_->read(100_000) } @down;

# packets that have begun
my $x = x();
my $v = flow(via => $x, to => 'echo', data => 'hello');
is($v->read(5), 'hello', 'packets');
my $n = $x->h->{seq};
my $bytes = $v->chunk('the last') . $v->finish;
my $writing = writing();
my @s = map { $x->post($n + $_, substr($bytes, $_ * 10, 5), partial => 1,
                       length => length substr $bytes, $_ * 10, 10)
            } 0 .. (length($bytes) - 1) / 10;
is(wait_for(sub { writing() == $writing + @s }), 1, 'workers have them');

my $pid = TestVMess::master_pid();
signal_nginx('QUIT');
wait_for(sub { !IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                      PeerPort => stream_port() + 2) });
for my $i (reverse 0 .. $#s) {
    my $part = substr $bytes, $i * 10, 10;
    $s[$i]->send(length $part > 5 ? substr $part, 5 : '', end => 1);
}
is($v->read_eof, 'the last', 'packets that had begun');
is(scalar(grep { $_->status ne 200 } @s), 0, 'their answers');
for my $f (@f) {
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
       'a flow goes on');
    $f->end;
    $f->close;
}
is(sha256_hex($got[$_] . $down[$_]->read_eof), sha256_hex(pattern(20_000_000)),
   'nothing is lost') for 0 .. $#down;
$_->close for $v, @down;
$_->reset for @s;
is(wait_for(sub { !kill 0, $pid }), 1, 'nginx left');
--- quits
--- no_error_log
[alert]


=== TEST 7: worker_shutdown_timeout
--- servers
echo echo
deaf deaf
--- main_config
worker_shutdown_timeout 300ms;
--- stream_config
log_format l '$vmess_carrier $vmess_status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% reuseport;
    location /x { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my @x = map { x(mode => (qw(packet-up stream-up stream-one))[$_ % 3]) } 1 .. 12;
my @f = map { flow(via => $_, to => 'echo', data => 'hello') } @x;
is($_->read(5), 'hello', 'a flow') for @f;
my @deaf = map { x(mode => (qw(packet-up stream-up))[$_ % 2]) } 1 .. 6;
push @f, map { flow(via => $_, to => 'deaf', data => 'hello') } @deaf;
my @s = map { $_->post(2, 'not now') } grep { $_->h->{mode} eq 'packet-up' }
            @x, @deaf;
my @late = map { x(late => 1) } 1 .. 4;
push @s, map { $_->post(0, 'x') } @late;
my @idle = map { x() } 1 .. 4;
push @s, map { $_->post(1, 'x') } @idle;
is(idle(), 1, 'all of them wait');
my $pid = TestVMess::master_pid();
signal_nginx('QUIT');
is(wait_for(sub { !kill 0, $pid }), 1, 'nginx left');
$_->close for @f;
$_->reset for @s;
$_->leave for @idle;
my %seen;
$seen{$_}++ for split /\n/, access_log();
is($seen{'xhttp ok'}, 18, 'all are logged');
--- quits
--- no_error_log
[alert]


=== TEST 8: a worker is killed
--- main_config
worker_shutdown_timeout 1s;
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
log_format h '$pid $request_method $uri $status';
server {
    listen 127.0.0.1:%%PORT_2%%;
    access_log %%DIR%%/http.log h;
    location /x { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $killed = 0;
for my $round (1 .. 6) {
    my $mode = $round % 2 ? 'packet-up' : 'stream-up';
    my (@x, @f, @owner);
    for (1 .. 6) {
        my $x = x(mode => $mode);
        push @x, $x;
        my $f = flow(via => $x, to => 'echo', data => 'hello');
        is($f->read(5), 'hello', 'a flow');
        is($x->sent, 1, 'its packet') if $mode eq 'packet-up';
        push @f, $f;
        push @owner, owner();
    }
    my @wait = $round % 2 ? map { $_->post(9, 'waits') } @x : ();
    my $pid = $owner[0];
    kill 'KILL', $pid;
    $killed++;
    is(wait_log(qr/worker process $pid exited on signal 9/), 1, 'killed');

    for my $i (0 .. $#f) {
        if ($owner[$i] == $pid) {
            $f[$i]->_pump('', sub { $f[$i]{eof} });
            ok($f[$i]{eof}, 'a session of it has ended');
            next;
        }

        # of the others those end whose upload was there
        my $up = $x[$i]->up;
        if ($up) {
            $up->h->{c}->turn;
            next if $up->ended || $up->h->{c}{eof};
        }
        is($f[$i]->exchange('again', 5), 'again', 'another goes on');
    }
    if (@wait) {
        $wait[0]->rest;
        ok($wait[0]->ended || $wait[0]->h->{c}{eof},
           'a packet of it does not wait');
    }
    wait_for(sub { workers_alive() == 4 });

    # the workers that are there
    for (1 .. 6) {
        my $f = flow(via => x(mode => $mode), to => 'echo', data => 'hello');
        is($f->read(5), 'hello', 'a new session');
        is($f->exchange('again', 5), 'again', 'and on');
        $f->close;
    }

    # the name of one that is gone can be used again
    my $f = flow(via => x(sid => $x[0]->sid), to => 'echo', data => 'hello');
    is($f->read(5), 'hello', 'the same name');
    $_->close for $f, @f;
    $_->reset for @wait;
}
is(log_count(qr/exited on signal/), $killed, 'no other worker');
--- may_alert


=== TEST 9: back pressure between workers
--- servers
deaf deaf
slow sink 1
src source 40000000
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
log_format h '$pid $request_method $uri $status';
server {
    listen 127.0.0.1:%%PORT_2%% reuseport;
    access_log %%DIR%%/http.log h;
    location /x { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $bytes = pattern(1_000_000);
my $before = rss();
my @x = map { x(mode => 'stream-up') } 1 .. 8;
my @f = map { flow(via => $_, sec => 'zero', to => 'deaf') } @x;
cmp_ok($_->up->offer($bytes x 30, 0.3), '>', 1_000_000, 'the client is held')
    for @x;

# packets that wait for one that does not come
my @y = map { x() } 1 .. 4;
my @g = map { flow(via => $_, to => 'deaf', data => 'x') } @y;
my @s;
for my $y (@y) {
    is($y->sent, 1, 'the first');
    for my $seq (2 .. 12) {
        push @s, $y->post($seq, '', length => 1_000_000, partial => 1);
        $s[-1]->offer($bytes, 0);
    }
}
is(idle(), 1, 'nothing moves');
$_->h->{c}->turn for @s;
is(scalar(grep { $_->h->{head} } @s), 0, 'no answers');

# of which 4 MB a worker are what it touches for the first time
grown_less($before, 4 * 4000 + 8 * 1000 + @s * 250);
stop_server('deaf');
$_->leave for @x, @y;
$_->reset for @s;
$_->close for @f, @g;
cmp_ok(spread(@x), '>', 1, 'at several workers');

my $up = pattern(6_000_000);
for my $mode (qw(packet-up stream-up)) {
    for (1 .. 4) {
        my $f = flow(via => x(mode => $mode), to => 'slow');
        $f->send($up)->end;
        is($f->read_all, '6000000 ' . sha256_hex($up) . "\n", 'a slow target');
        $f->close;
    }
}
--- no_error_log
[alert]


=== TEST 10: 200 sessions that end anywhere leave nothing
--- servers
echo echo
src source 2000000
banner banner bye
dead dead
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% reuseport;
    # nginx keeps a connection that is reset while it discards a body
    keepalive_timeout 1s;
    location /x { vmess_pass ray; root html; log_not_found off; }
}
--- config
location = /status { stub_status; }
--- stream_client
srand 7;
my $start = active();
my @open;
for my $i (1 .. 200) {
    my $v = vmess(to => (qw(echo src banner dead))[rand 4],
                  user => (qw(alice alice mallory))[rand 3]);
    my $b = $v->header . $v->chunk(pattern(1 + int rand 50_000)) . $v->finish;
    my $x = x(late => 1);
    my @s;

    if (rand 2 < 1) {
        my $n = 1 + int rand 5;
        my $size = 1 + int(length($b) / $n);
        for my $seq (sort { rand 2 <=> 1 } 'get', 0 .. $n - 1) {
            next if rand 8 < 1;                 # it never comes
            if ($seq eq 'get') {
                push @s, $x->get;
                next;
            }
            my $part = substr $b, $seq * $size, $size;
            my $cut = rand 4 < 1 ? int rand length $part : length $part;
            push @s, $x->post($seq, '', partial => 1, rand 2 < 1
                              ? (chunked => 1) : (length => length $part));
            $s[-1]->offer(substr($part, 0, $cut), 0,
                          end => $cut == length $part);
        }

    } else {
        my $get = int rand 3;
        push @s, $x->get if $get == 0;
        push @s, $x->stream;
        my $cut = rand 3 < 1 ? length $b : int rand length $b;
        $s[-1]->offer(substr($b, 0, $cut), 0, end => rand 2 < 1);
        push @s, $x->get if $get == 1;
    }

    $_->h->{c}->turn for @s;
    push @open, sort { rand 2 <=> 1 } @s;
    $open[rand @open]->h->{c}->turn if @open;
    (splice @open, rand @open, 1)->reset while @open > 40;
}
$_->reset for @open;
is(wait_for(sub { active() == $start }), 1, 'all have gone');
log_count(qr/\[(?:alert|crit|emerg)\]/);
--- stream_response: 0


=== TEST 11: other users of the machine at the sockets of workers
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
log_format h '$pid $request_method $uri $status';
server {
    listen 127.0.0.1:%%PORT_2%% reuseport;
    access_log %%DIR%%/http.log h;
    location /x { vmess_pass ray; }
}
--- stream_client
SKIP: {
Test::More::skip('another user needs root', 1) if $>;
my @name;
is(wait_for(sub { @name = map { worker_sockets($_) } children(); @name == 4 }), 1,
   'a socket of each worker');

# it connects as fast as it can, to all of them
my $pid = fork // die;
if (!$pid) {
    POSIX::setuid(65533);
    for my $n (1 .. 20_000) {
        socket my $s, Socket::AF_UNIX(), Socket::SOCK_STREAM(), 0 or POSIX::_exit(1);
        connect $s, Socket::pack_sockaddr_un("\0$name[$n % 4]");
        CORE::close $s;
    }
    POSIX::_exit(0);
}

# and sessions go on meanwhile
my @x;
for my $i (1 .. 10) {
    my $x = x();
    my $f = flow(via => $x, to => 'echo', data => 'hello');
    is($f->read(5), 'hello', 'a session');
    $f->close;
    push @x, $x;
}
cmp_ok(spread(@x), '>', 0, 'at several workers');
waitpid $pid, 0;
is($?, 0, 'it has tried');

my (%line, $left);
for (split /\n/, error_log()) {
    $line{"$2 $1"}++ if /^(\S+ \S+) \[alert\] (\d+)#\d+: connection of another user to the socket/;
    $left += $1 if /\[alert\] .* (\d+) more messages on sockets of workers were left out/;
}
cmp_ok(scalar(keys %line), '>', 0, 'lines in the log');
is(scalar(grep { $_ > 10 } values %line), 0, 'at most ten in a second of a worker');
}
--- may_alert


=== TEST 12: connections with packets are kept, whichever worker has them
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
log_format h '$pid $request_method $uri $status';
server {
    listen 127.0.0.1:%%PORT_2%% reuseport;
    access_log %%DIR%%/http.log h;
    keepalive_timeout 1s;
    location /x { vmess_pass ray; }
    location /other { return 404; }
}
--- stream_client
my @old = children();
my $x = x();
my $v = vmess(to => 'echo', sec => 'zero');
my @c = map { h1() } 0 .. 7;
my $n = 0;
my $round = sub {
    my ($name) = @_;
    for my $c (@c) {
        my $s = $x->post($n, $n ? sprintf('%03d', $n) : $v->header . '000', via => $c);
        $v->connect($x, quiet => 1) if !$n;
        is($v->read(3), sprintf('%03d', $n), $name);
        is($s->status, 200, 'an answer');
        $n++;
    }
};
my $idle = sub {
    my $c = h1();
    is($c->request(GET => '/other', end => 1)->status, 404, 'another connection');
    return $c;
};
$round->('at first');
my $other = $idle->();
$other->run(sub { 0 });
is($other->{eof}, 1, 'is closed');
$round->('after keepalive_timeout');
$other = $idle->();
reload();
$other->run(sub { 0 });
is($other->{eof}, 1, 'is closed');
$round->('after a reload');
$round->('and once more');
my @pids = pids_of($x);
cmp_ok(scalar(@pids), '>', 1, 'several workers');
$v->close;
for my $c (@c) {
    $c->run(sub { 0 });
    is($c->{eof}, 1, 'closed behind the session');
}
my %now;
is(wait_for(sub { %now = map { $_ => 1 } children(); !grep { $now{$_} } @old }), 1,
   'the old workers leave');
--- no_error_log
[error]

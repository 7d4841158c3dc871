# Reload and quit: flows go on, the zone carries over, a bad file changes nothing.

use lib "t/lib";
use TestVMess;
use VMess::Mux;

plan "no_plan";
no_shuffle();
workers(2);
run_tests();


# stops a process, when it is in a function of that name if a number of tries
# comes upon it

sub stop_in {
    my ($pid, $re, $tries) = @_;
    my %symbols;
    no warnings 'portable';

    while ($tries--) {
        halt('STOP', $pid);

        # the program counter, unless the kernel was at work

        my ($pc) = TestVMess::file_text("/proc/$pid/syscall") =~ /^-1 \S+ 0x(\w+)/;
        my $maps = defined $pc ? TestVMess::file_text("/proc/$pid/maps") : '';

        for my $line (split /\n/, $maps) {
            my ($from, $to, $off, $file)
                = $line =~ /^(\w+)-(\w+) \S+ (\w+) \S+ \S+ +(\S*(?:vmess|nginx)\S*)/
                or next;
            next if hex $pc < hex $from || hex $pc >= hex $to;
            my $symbols = $symbols{$file} //= [map { [hex $1, $2] if /^(\w+) [tT] (\w+)/ }
                                               grep { / [tT] / } `nm -n $file`];
            my $at = hex($pc) - hex($from) + hex($off);
            my ($symbol) = grep { $_->[0] <= $at } reverse @$symbols;
            return 1 if $symbol && $symbol->[1] =~ $re;
        }

        kill 'CONT', $pid if $tries;
        select undef, undef, undef, rand 0.001;
    }

    return 0;
}

__DATA__

=== TEST 1: a transfer goes on across reloads
--- servers
src source 20000000
sink sink
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $down = flow(to => 'src');
my $up = flow(to => 'sink');
my $data = pattern(6_000_000);
my $got = $down->read(1_000_000);
$up->send(substr($data, 0, 3_000_000));

reload();
reload();

$got .= $down->read(4_000_000);
$up->send(substr($data, 3_000_000))->end;
is($up->read_eof, '6000000 ' . sha256_hex($data) . "\n", 'an upload');
$got .= $down->read_eof;
is(sha256_hex($got), sha256_hex(pattern(20_000_000)), 'a download');
is($down->{ended}, 1, 'with its end');
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1


=== TEST 2: the old worker leaves when its flow ends, not before
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow');
reload();
is(wait_for(sub { workers_alive() == 3 }), 1, 'the other old worker has gone');
$f->send('still');
is($f->read(5), 'still', 'the flow is there');
is(flow(to => 'echo', data => 'new')->read(3), 'new', 'new flows, too');
$f->close;
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1


=== TEST 3: quit waits for a transfer
--- servers
src source 20000000
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'src');
my $got = $f->read(1_000_000);
my $pid = TestVMess::master_pid();
signal_nginx('QUIT');
is(wait_for(sub { !IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                         PeerPort => stream_port()) }), 1,
   'no new connections');
$got .= $f->read_eof;
is(sha256_hex($got), sha256_hex(pattern(20_000_000)), 'nothing is lost');
is(wait_for(sub { !kill 0, $pid }), 1, 'nginx left');
--- quits


=== TEST 4: a connection without a header does not keep a worker for long
--- stream_server_config
vmess main;
vmess_handshake_timeout 500ms;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, 'x');
is(wait_log(qr/connected to/), 1, 'a connection');
is(wait_taken(), 1, 'with the start of a header');
my $pid = TestVMess::master_pid();
signal_nginx('QUIT');
is(wait_for(sub { !kill 0, $pid }), 1, 'nginx left');
slurp($s);
--- stream_response:
--- quits


=== TEST 5: counters carry over
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $count = sub {
    my $n = log_count(qr/vmess user "alice"/);
    my $f = flow(to => 'echo', data => 'x' x 100);
    $f->read(100);
    $f->close;
    wait_log(qr/vmess user "alice"/, $n + 1);
    my @l = error_log() =~ /vmess user "alice": up:(\d+) down:(\d+) flows:\d+ total:(\d+)/g;
    "@l[-3, -2, -1]";
};
is($count->(), '100 100 1', 'the first flow');
flow(skew => 999, port => 9, data => 'x' x 5000)->read_eof;
flow(bad => 'tag', port => 9, data => 'x' x 5000)->read_eof;
my $s = tcp();
put($s, substr(vmess(port => 9)->header, 0, 30));
$s->shutdown(1);
slurp($s);
reload();
is($count->(), '200 200 2', 'after a reload');
reload();
is($count->(), '300 300 3', 'after another');
log_count(qr/total:3 refused:3/);
--- stream_response: 1


=== TEST 6: a reload that fails changes nothing
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $used = vmess(to => 'echo');
is($used->connect(tcp(), data => 'hello')->read(5), 'hello', 'before');

# users are gone and others come, but the file ends with an error
my $old;
edit_conf(sub {
    $old = $_;
    s/alice \S+;\s*bob \S+;/carol 11111111-2222-3333-4444-555555555555;/;
    $_ .= "nonsense on;\n";
});
is(eval { reload(); 1 }, undef, 'the reload fails');
like($@, qr/reload failed/, 'as it should');

is(flow(user => 'alice', to => 'echo', data => 'hello')->read(5), 'hello', 'alice');
is(flow(user => 'bob', to => 'echo', data => 'hello')->read(5), 'hello', 'bob');
my $f = flow(user => 'mallory', to => 'echo', data => 'x' x 5000);
is($f->read_eof, '', 'not the new one');
my $s = tcp();
put($s, $used->header . 'x' x 5000);
is(slurp($s), '', 'and no replay');

edit_conf(sub { $_ = $old });
reload();
flow(user => 'alice', to => 'echo', data => 'hello')->read(5);
--- stream_response: hello
--- may_alert


=== TEST 7: a reload that fails late, when it opens its sockets
--- servers
echo echo
dead dead
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $old;
edit_conf(sub {
    $old = $_;
    s/bob \S+;/carol 11111111-2222-3333-4444-555555555555;/;
    # the address of another host cannot be bound
    s/(listen 127\.0\.0\.1:\d+ *;)/$1 listen 192.0.2.1:9;/;
});
signal_nginx('HUP');
is(wait_log(qr/bind\(\) to 192\.0\.2\.1:9 failed/), 1, 'the sockets failed');
is(wait_log(qr/still could not bind|\[emerg\].*192\.0\.2\.1/, 1, 10), 1, 'and stay so');
is(flow(user => 'bob', to => 'echo', data => 'hello')->read(5), 'hello', 'bob');
my $f = flow(user => 'mallory', to => 'echo', data => 'x' x 5000);
is($f->read_eof, '', 'not the new one');
edit_conf(sub { $_ = $old });
reload();
flow(user => 'bob', to => 'echo', data => 'hello')->read(5);
--- stream_response: hello
--- may_alert


=== TEST 8: a user who was removed, and one who came
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $open = flow(user => 'bob', to => 'echo', data => 'hello');
is($open->read(5), 'hello', 'a flow of bob');
edit_conf(sub { s/bob \S+;/carol 11111111-2222-3333-4444-555555555555;/ });
reload();
is($open->read_eof, '', 'ends as he goes');
is(flow(user => 'mallory', to => 'echo', data => 'hello')->read(5), 'hello',
   'carol came');
my $f = flow(user => 'bob', to => 'echo', data => 'x' x 5000);
is($f->read_eof, '', 'bob went');
is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'alice stayed');
$open->close;
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1


=== TEST 9: a user with a new name is a new user with the same id
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $used = vmess(to => 'echo');
$used->connect(tcp(), data => 'hello')->read(5);
$used->close;
edit_conf(sub { s/alice (\S+;)/anna $1/ });
reload();
my $f = flow(to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'the id is good');
$f->close;
wait_log(qr/vmess user "anna": up:5 down:5 flows:\d total:1/);
my $s = tcp();
put($s, $used->header . 'x' x 5000);
is(slurp($s), '', 'but no replay');
log_count(qr/vmess user "anna": up:5 down:5 flows:\d total:1/);
--- stream_response: 1


=== TEST 10: a user with a new id keeps the counters
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'echo', data => 'hello');
$f->read(5);
$f->close;
is(wait_log(qr/vmess user "alice"/), 1, 'counted');
edit_conf(sub { s/alice \S+;/alice 11111111-2222-3333-4444-555555555555;/ });
reload();
is(wait_for(sub { workers_alive() == 2 }), 1, 'the old workers have gone');
is(flow(to => 'echo', data => 'x' x 5000)->read_eof, '', 'the old id is gone');
$f = flow(user => 'mallory', to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'the new one is good');
$f->close;
wait_log(qr/vmess user "alice": up:10 down:10 flows:\d total:2/);
--- stream_response: 1


=== TEST 11: a zone of another size holds what the old one held
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @used;
my $flow = sub {
    my $v = vmess(to => 'echo');
    $v->connect(tcp(), data => 'hello');
    is($v->read(5), 'hello', $_[0]);
    $v->close;
    push @used, $v;
    is(wait_log(qr/vmess user "alice"/, scalar @used), 1, 'counted');
};
my $replay = sub {
    my $s = tcp();
    put($s, $_->header . 'x' x 5000);
    is(slurp($s), '', 'no replay');
};
$flow->('in the first zone');
$replay->() for @used;
edit_conf(sub { s/vmess_users main:1m/vmess_users main:4m/ });
reload();
$flow->('in a larger one');
edit_conf(sub { s/vmess_users main:4m/vmess_users main:2m/ });
reload();
is(wait_for(sub { workers_alive() == 2 }), 1, 'the old workers have gone');
$flow->('in a smaller one');
$replay->() for @used;
wait_log(qr/vmess user "alice": up:15 down:15 flows:\d total:3 refused:1/);
--- stream_response: 1


=== TEST 12: a zone that is new, and one that is gone
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'before');
my $used = vmess(to => 'echo');
is($used->connect(tcp(), data => 'hello')->read(5), 'hello', 'a header');
edit_conf(sub { s/vmess_users main:1m/vmess_users other:1m/;
                s/vmess main;/vmess other;/ });
reload();
is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'another zone');
my $again = tcp();
put($again, $used->header . 'x' x 5000);
is(slurp($again), '', 'which knows the header');
$used->close;
edit_conf(sub { s/vmess other;/vmess off;/; s/vmess_target/127.0.0.1:@{[port('echo')]}/ });
reload();
is(wait_for(sub { workers_alive() == 2 }), 1, 'the old workers have gone');
my $s = tcp();
put($s, 'hello');
read_n($s, 5);
--- stream_response: hello


=== TEST 13: many reloads while flows come and go
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $bad = 0;
my @open;
for my $n (1 .. 12) {
    push @open, map { flow(to => 'echo', data => "$_") } 10 .. 14;
    reload();
    for (1 .. 10) {
        my $f = flow(to => 'echo', data => 'hello');
        $bad++ if $f->read(5) ne 'hello';
        $f->close;
    }
    if ($n % 3 == 0) {
        $bad += grep { $_->read(2) !~ /^1\d$/ } @open;
        $_->close for @open;
        @open = ();
    }
}
is($bad, 0, 'all went well');
wait_for(sub { workers_alive() == 2 }, 20);
--- stream_response: 1


=== TEST 14: a worker that is killed takes its flows only
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $used = vmess(to => 'echo');
is($used->connect(tcp(), data => 'hello')->read(5), 'hello', 'a flow');
kill 'KILL', TestVMess::children();
is(wait_log(qr/exited on signal 9/, 2), 1, 'workers are gone');
is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'others serve');
my $s = tcp();
put($s, $used->header . 'x' x 5000);
slurp($s);
--- stream_response:
--- may_alert
--- error_log
client sent replayed VMess header of user "alice"


=== TEST 15: another size while headers are half sent: each is good once
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
# with the 16 bytes of the id it is taken, with fewer it is not yet
my @n = (10, 40, 15);
my @v = map { vmess(to => 'echo') } @n;
my @old = map { tcp() } @v;
put($old[$_], substr($v[$_]->header, 0, $n[$_])) for 0 .. 2;
is(wait_log(qr/ connected to /, 3), 1, 'connections');
is(wait_taken(), 1, 'with their first bytes');

edit_conf(sub { s/vmess_users main:1m/vmess_users main:4m/ });
reload();

my $good = sub {
    my ($v, $s, $from, $what) = @_;
    $v->connect($s, quiet => 1);
    $v->send_raw(substr($v->header, $from) . $v->chunk('hello'));
    is($v->read(5), 'hello', "good in $what");
};
my $replay = sub {
    my ($v, $s, $from, $what) = @_;
    my $n = log_count(qr/client sent replayed VMess header of user "alice"/);
    put($s, substr($v->header, $from) . 'x' x 5000);
    is(slurp($s), '', "nothing is said in $what");
    is(wait_log(qr/client sent replayed VMess header of user "alice"/, $n + 1),
       1, 'as it was replayed');
};

for (0, 1) {
    $good->($v[$_], $old[$_], $n[$_], 'an old worker');
    $replay->($v[$_], tcp(), 0, 'a new one');
}
$good->($v[2], tcp(), 0, 'a new worker');
$replay->($v[2], $old[2], $n[2], 'an old one');

cmp_ok(workers_alive(), '>', 2, 'the old worker was there');
$_->close for @v;
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1


=== TEST 16: a user who is gone or has another id opens no sub-connections, and ends
--- servers
echo echo
udp udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $id = 4;
my $opens = sub {
    my ($m, @how) = @_;
    my $port = port(@how ? 'udp' : 'echo');
    $m->open(++$id, @how, port => $port, data => 'new');
    my $end = $m->wait(sub { length $m->{sub}{$id}{in} || @{ $m->{sub}{$id}{packets} }
                             || defined $m->{sub}{$id}{end} });
    return $m->{flow}{eof} ? 2 : $m->{sub}{$id}{end} // 'open';
};

my %mux = map { $_ => VMess::Mux->new(flow(cmd => 'mux', user => $_)) } qw(alice bob);
for (values %mux) {
    $_->open(1, port => port('echo'), data => 'hello');
    is($_->read(1, 5), 'hello', 'before');
    is($opens->($_), 'open', 'another one');
    is($opens->($_, net => 'udp', global_id => 'ABCDEFGH'), 'open', 'XUDP');
}

# another place in the table is not another user
edit_conf(sub { s/(alice \S+;)(\s*)(bob \S+;)/$3$2carol 22222222-2222-3333-4444-555555555555;$2$1/ });
reload();
is($opens->($mux{$_}), 'open', "$_ is the same") for qw(alice bob);

# bob goes
edit_conf(sub { s/bob \S+;// });
reload();
is($opens->($mux{bob}), 2, 'bob has gone') for 1 .. 3;
is($opens->($mux{bob}, net => 'udp', global_id => 'ABCDEFGH'), 2, 'with XUDP too');
is($opens->($mux{alice}), 'open', 'alice has not');

# back, with the id of before: he is another user now
is($mux{bob}->closed, 1, 'his connection has ended');
edit_conf(sub { s/(alice \S+;)/$1 bob $User{bob};/ });
reload();
my $again = VMess::Mux->new(flow(cmd => 'mux', user => 'bob'));
is($opens->($again), 'open', 'on a new connection');

# another id, and another size of the zone
edit_conf(sub { s/bob \S+;/bob $User{mallory};/ });
reload();
is($opens->($again), 2, 'another id');
is($opens->($mux{alice}), 'open', 'alice has hers');
my $mallory = VMess::Mux->new(flow(cmd => 'mux', user => 'mallory'));
is($opens->($mallory), 'open', 'with that one');

edit_conf(sub { s/main:1m/main:3m/; s/bob \S+;/bob $User{bob};/ });
reload();
is($opens->($mallory), 2, 'another zone, another id');
is($opens->($mux{alice}), 'open', 'alice still has hers');

# what is open goes on, of those who are there
is($_->closed, 1, 'that of another id has ended') for $again, $mallory;
$mux{alice}->keep(1, 'still');
is($mux{alice}->read(1, 5), 'still', 'goes on');
$_->close for $again, $mallory, values %mux;
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1
--- error_log
user "bob", who is gone or has another id


=== TEST 17: two changes of size while headers are half sent
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @v = map { vmess(to => 'echo') } 0 .. 2;
my @old = map { tcp() } 0 .. 1;
put($old[$_], substr($v[$_]->header, 0, 40)) for 0 .. 1;
wait_log(qr/ connected to /, 2);

edit_conf(sub { s/vmess_users main:1m/vmess_users main:4m/ });
reload();

# one that a worker of the second configuration has begun
$old[2] = tcp();
put($old[2], substr($v[2]->header, 0, 40));
wait_log(qr/ connected to /, 3);

edit_conf(sub { s/vmess_users main:4m/vmess_users main:1m/ });
reload();
cmp_ok(workers_alive(), ">=", 4, 'workers of three configurations');

my $finish = sub { put($old[$_[0]], substr($v[$_[0]]->header, 40) . 'x' x 5000);
                   slurp($old[$_[0]]) };

is($v[$_]->connect(tcp(), data => 'hello')->read(5), 'hello', 'good once')
    for 0, 2;
is($finish->($_), '', 'and not at an old worker') for 0, 2;

$v[1]->connect($old[1], quiet => 1);
$v[1]->send_raw(substr($v[1]->header, 40) . $v[1]->chunk('hello'));
is($v[1]->read(5), 'hello', 'good at the oldest worker');
my $s = tcp();
put($s, $v[1]->header . 'x' x 5000);
is(slurp($s), '', 'and not at a new one');
is(log_count(qr/client sent replayed VMess header of user "alice"/), 3,
   'all of them are replays');

# another reload does not forget
reload();
for (@v) {
    $s = tcp();
    put($s, $_->header . 'x' x 5000);
    is(slurp($s), '', 'nor after another reload');
}
$_->close for @v;
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1


=== TEST 18: zones that are gone for a while
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $used = vmess(to => 'echo');
is($used->connect(tcp(), data => 'hello')->read(5), 'hello', 'before');
$used->close;
my $old;
edit_conf(sub { $old = $_; s/vmess_users main:1m \{[^}]*\}//; s/vmess main;//;
                s/vmess_target/127.0.0.1:@{[port('echo')]}/ });
reload();
edit_conf(sub { $_ = $old });
reload();
wait_for(sub { workers_alive() == 2 });
is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'they are back');
my $s = tcp();
put($s, $used->header . 'x' x 5000);
is(slurp($s), '', 'and know the header');
log_count(qr/client sent replayed VMess header of user "alice"/);
--- stream_response: 1


=== TEST 19: workers are killed at any moment, and the others go on
--- servers
echo echo
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @clients = map {
    my $pid = fork;
    if (!$pid) {
        my $end = time + 60;
        while (time < $end) {
            eval { my $f = flow(to => 'echo', data => 'hello'); $f->read(5) };
        }
        POSIX::_exit(0);
    }
    $pid;
} 1 .. 4;
my @used;
for my $n (1 .. 25) {
    my $v = vmess(to => 'echo');
    push @used, $v if eval { $v->connect(tcp(), data => 'hello')->read(5) } eq 'hello';
    my @workers = children();
    kill 'KILL', $workers[rand @workers];
    wait_log(qr/exited on signal 9/, $n);
    wait_for(sub { workers_alive() == 2 });
}
kill 'KILL', @clients;
waitpid $_, 0 for @clients;
is(log_count(qr/exited on signal 9/), 25, 'they were killed');
for (1 .. 20) {
    my $f = flow(to => 'echo', data => 'hello');
    $f->read(5) eq 'hello' or die "a flow failed\n";
    $f->close;
}
my $again = 0;
for (@used) {
    my $s = tcp();
    put($s, $_->header . 'x' x 5000);
    $again++ if slurp($s) ne '';
}
cmp_ok(scalar @used, '>', 15, 'headers were good');
$again;
--- stream_response: 0
--- may_alert


=== TEST 20: flows of a worker that was killed are not counted for ever
--- servers
echo echo
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $flows = sub {
    my $n = log_count(qr/vmess user "alice"/);
    my $f = flow(to => 'echo', data => 'hello');
    $f->read(5);
    $f->close;
    wait_log(qr/vmess user "alice"/, $n + 1);
    return (error_log() =~ /vmess user "alice".* flows:(\d+)/g)[-1];
};
my @open = map { flow(to => 'echo', data => 'hello') } 1 .. 10;
$_->read(5) for @open;
is($flows->(), 11, 'ten flows beside its own');

for my $n (1 .. 3) {
    my @old = children();
    kill 'KILL', $old[$n % 2];
    is(wait_log(qr/exited on signal 9/, $n), 1, 'a worker is killed');
    @open = grep { eval { $_->send('again'); $_->read(5) } } @open;
    push @open, map { flow(to => 'echo', data => 'hello') } 1 .. 10;
    $_->read(5) for @open[-10 .. -1];
    is(wait_for(sub { $flows->() == @open + 1 }), 1,
       scalar(@open) . ' are counted');
}

$_->close for @open;
is(wait_for(sub { $flows->() == 1 }), 1, 'and none in the end');
--- stream_response: 1
--- may_alert


=== TEST 21: thirty reloads, each with other users
--- servers
echo echo
--- stream_config
vmess_users main:1m {
    include ../html/users.conf;
}
--- user_files eval
">>> users.conf\nalice b831381d-6324-4d53-ad4f-8cda48b30811;\n"
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $users = sub {
    my ($n) = @_;
    open my $fh, '>', "$Dir/../html/users.conf" or die $!;
    print $fh "alice $User{alice};\n";
    printf $fh "user%d-%d 00000000-0000-4000-8000-%06x%06x;\n", $n, $_, $n, $_
        for 1 .. 300;
    close $fh;
};
my @open;
my $bad = 0;
for my $n (1 .. 30) {
    $users->($n);
    reload();
    push @open, vmess(uuid => sprintf('00000000-0000-4000-8000-%06x%06x', $n, 300),
                      to => 'echo');
    $bad++ if $open[-1]->connect(tcp(), data => 'hello')->read(5) ne 'hello';
    (shift @open)->close if @open > 3;

    if ($n == 10) {
        kill 'KILL', (children())[-1];
        wait_log(qr/exited on signal 9/) or die "not killed";
    }
}
is($bad, 0, 'users of each');
is(log_count(qr/do not fit/), 0, 'all of them fit');
$_->close for @open;

# users who have gone keep their counters until their last flow ends
my $ended = sub { my %n = map { $_ => 1 } error_log() =~
                      /vmess user "user(\d+)-300": up:5 down:5 flows:1 total:1 /g;
                  return scalar keys %n };
is(wait_for(sub { $ended->() >= 30 - 4 }), 1, 'counters of those who have gone');
flow(to => 'echo', data => 'hello')->read(5);
--- stream_response: hello
--- may_alert


=== TEST 22: reloads go on in a flood of headers
--- servers
echo echo
--- stream_config
vmess_users main:18m {
    include ../html/users.conf;
}
--- user_files eval
">>> users.conf\n" . join '', map { sprintf
    "user%d 00000000-0000-4000-8000-%012x;\n", $_, $_ } 1 .. 9500
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @clients = map {
    my $pid = fork;
    if (!$pid) {
        my $end = time + 60;
        while (time < $end) {
            my $s = eval { tcp() } or next;
            put($s, 'x' x 64);
            close $s;
        }
        POSIX::_exit(0);
    }
    $pid;
} 1 .. 4;

# a worker that stands amid a scan of all users keeps their table
my $good = 0;
for my $n (1 .. 3) {
    my $worker = (children())[-1];
    stop_in($worker, qr/_scan$/, 1000);
    my $users = log_count(qr/vmess_users "main": 9500 users/);
    signal_nginx('HUP');
    is(wait_log(qr/vmess_users "main": 9500 users/, $users + 1), 1, 'a reload');
    kill 'CONT', $worker;
    wait_for(sub { !grep { $_ == $worker } children() });
    $good++ if eval { reload(); 1 };
}
kill 'KILL', @clients;
waitpid $_, 0 for @clients;
is(log_count(qr/do not fit/), 0, 'room for the users of each');
wait_for(sub { workers_alive() == 2 });
$good;
--- stream_response: 3


=== TEST 23: fewer users, and an address seen with one that is gone
--- servers
echo echo
--- stream_config
vmess_users main:1m {
    include ../html/users.conf;
}
--- user_files eval
">>> users.conf\n" . join '', map { sprintf
    "user%d 00000000-0000-4000-8000-%012x;\n", $_, $_ } 1 .. 400
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $user = sub {
    my ($n) = @_;
    return flow(uuid => sprintf('00000000-0000-4000-8000-%012x', $n), to => 'echo',
                data => 'x' x 5000);
};
for (400, 399, 398, 3) {
    my $f = $user->($_);
    is($f->read(5), 'xxxxx', "user $_");
    $f->close;
}
open my $fh, '>', "$Dir/../html/users.conf" or die $!;
printf $fh "user%d 00000000-0000-4000-8000-%012x;\n", $_, $_ for 2 .. 4;
close $fh;
reload();
wait_for(sub { workers_alive() == 2 });
is($user->($_)->read_eof, '', "user $_ is gone") for 400, 398, 1;
is($user->($_)->read(5), 'xxxxx', "user $_ is there") for 4, 3, 2;
1;
--- stream_response: 1


=== TEST 24: a worker that is killed inside the replay filter stops nobody
--- servers
echo echo
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $used = vmess(to => 'echo');
is($used->connect(tcp(), data => 'hello')->read(5), 'hello', 'a flow');
$used->close;

# headers with a bad tag, which use up their ids
my $key = VMess::kdf16(VMess::cmd_key(VMess::uuid($TestVMess::User{bob})),
                       'AES Auth ID Encryption');
my @clients = map {
    my $client = $_;
    my $pid = fork;
    if (!$pid) {
        my $aes = Crypt::Cipher::AES->new($key);
        my $end = time + 60;
        my $n = 0;
        while (time < $end) {
            my $id = pack 'q> N', time, $client << 24 | $n++;
            $id = $aes->encrypt($id . pack 'N', unpack 'N',
                                Crypt::Checksum::CRC32::crc32_data($id));
            my $s = eval { tcp() } or next;
            put($s, $id . 'x' x 26);
            close $s;
        }
        POSIX::_exit(0);
    }
    $pid;
} 1 .. 4;

my $hit = 0;
for my $n (1 .. 3) {
    my $worker = (children())[-1];
    $hit += stop_in($worker, qr/^ngx_vmess_replay_/, 1000);
    kill 'KILL', $worker;
    is(wait_log(qr/$worker exited on signal 9/), 1, 'a worker is killed');
}
kill 'KILL', @clients;
waitpid $_, 0 for @clients;

is(wait_log(qr/shared memory zone "vmess_replay_0" was locked by/, $hit), 1,
   "$hit of them held the lock");

for (1 .. 20) {
    my $f = flow(to => 'echo', data => 'hello');
    $f->read(5) eq 'hello' or die "a flow failed\n";
    $f->close;
}

# a second has passed when refusals are logged again

is(wait_for(sub { my $s = tcp();
                  put($s, $used->header . 'x' x 5000);
                  slurp($s);
                  log_count(qr/client sent replayed VMess header of user "alice"/) }),
   1, 'and no replay');
1;
--- stream_response: 1
--- may_alert


=== TEST 25: a user who goes while his header is half sent is not known
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my %v = map { $_ => vmess(to => 'echo', user => $_) } qw(alice bob);
my %s = map { $_ => tcp() } keys %v;
put($s{$_}, substr($v{$_}->header, 0, 40)) for keys %v;
wait_log(qr/ connected to /, 2);
select undef, undef, undef, 0.3;

edit_conf(sub { s/bob \S+;// });
reload();

put($s{bob}, substr($v{bob}->header, 40) . 'x' x 5000);
is(slurp($s{bob}), '', 'bob has gone');

$v{alice}->connect($s{alice}, quiet => 1);
$v{alice}->send_raw(substr($v{alice}->header, 40) . $v{alice}->chunk('hello'));
is($v{alice}->read(5), 'hello', 'alice has not');
$v{alice}->close;
1;
--- stream_response: 1
--- error_log
client opened a flow of user "bob", who is gone or has another id


=== TEST 26: who dies with the lock of a zone of another size does not stop other old workers
--- servers
echo echo
--- listen: reuseport
--- stream_config
vmess_users main:1m { alice %%ALICE%% quota=1g; }
--- no_defaults
--- stream_server_config
vmess main;
vmess_allow 127.0.0.0/8;
proxy_pass vmess_target;
--- stream_client
my @f = map { flow(to => 'echo', data => 'hello') } 1 .. 16;
$_->read(5) for @f;
my @old = grep { error_log() =~ /\[info\] $_#.* proxy .* connected/ } children();
is(scalar @old, 2, 'flows at both workers');

# a period begins under the lock
edit_conf(sub { s/main:1m/main:2m/; s/quota=1g/quota=1g quota_reset=day/ });
reload();
my $dead = shift @old;
kill 'KILL', $dead;
wait_log(qr/process $dead exited on signal 9/);
@f = grep { !IO::Select->new($_->{sock})->can_read(0) } @f;

# the lock is the first word of the zone, which is made before the replay filter of that size
my ($pid) = @old;
my %zone = map { /^(\w+)-(\w+) rw-s \w+ \S+ (\d+)/ && hex($2) - hex($1) == 1 << 19 ? ($3 => hex $1) : () }
           split /\n/, TestVMess::file_text("/proc/$pid/maps");
my ($addr) = @zone{sort { $a <=> $b } keys %zone};
open my $mem, '+<:raw', "/proc/$pid/mem" or die "no memory of $pid: $!\n";
sysseek $mem, $addr, 0;
is(syswrite($mem, pack 'J', $dead), length(pack 'J', 0), 'it had the lock');
CORE::close $mem;
my $n = 0;
$n += eval { $_->send('again'); $_->read(5) } eq 'again' for @f;
is($n, scalar @f, 'flows of others go on');
$n > 0 || 'none';
--- stream_response: 1
--- may_alert

# Quotas that begin anew, and users on hold, by a clock that is set.

use lib "t/lib";
use VMess::Clock;
use TestVMess;
use Test::Nginx::Util qw($ServRoot $PidFile $ConfFile);
use Time::Local qw(timegm);
use VMess::Mux;

plan "no_plan";
no_shuffle();
workers(2);

# what is added to the time of clients as well

my $offset;

sub clock {
    ($offset) = @_;
    set_clock(wall => $offset);
}

# a day as 2028-02-29, some seconds after its beginning

sub at {
    my ($day, $s) = @_;
    my ($y, $m, $d) = split /-/, $day;
    clock(timegm(0, 0, 0, $d, $m - 1, $y) + ($s // 0) - time);
}

sub users {
    my ($alice, $bob) = (@_, '');
    return "vmess_users main:1m {\nalice $User{alice} $alice;\nbob $User{bob} $bob;\n}\n"
           . "log_format l '\$vmess_status \$vmess_quota_left \$vmess_expires';\n";
}

sub client {
    return flow(skew => $offset, @_);
}

# n bytes through the echo: twice as many are counted; or whether it is refused

sub use_up {
    my ($n, @o) = @_;
    my $f = client(to => 'echo', data => 'x' x $n, @o);
    my $got = length $f->read($n);
    $f->close;
    return $got;
}

sub refused {
    my $f = client(to => 'echo', data => 'x' x 5000, @_);
    return $f->read_eof eq '';
}

# the last line of the log, of so many

sub logged {
    my ($n) = @_;
    my @l;
    wait_for(sub { (@l = split /\n/, access_log()) >= $n });
    return $l[-1];
}

# nginx ends, and starts at another time

sub restart_at {
    my ($day) = @_;
    my $pid = TestVMess::master_pid();
    kill 'TERM', $pid;
    my $gone = wait_for(sub { !kill(0, $pid) && !-e $PidFile });
    at($day);
    my $bin = $ENV{TEST_NGINX_BINARY} || 'nginx';
    local $ENV{LD_PRELOAD} = $ENV{TEST_NGINX_LD_PRELOAD};
    my $out = `$bin -p $ServRoot/ -c $ConfFile 2>&1`;
    diag($out) if $?;
    my $there = wait_for(sub { -e $PidFile && workers_alive() >= 2 });

    # ids of the time before the start are refused

    at($day, 200);
    return $gone && !$? && $there;
}

clock(0);
run_tests();

__DATA__

=== TEST 1: the last day of months, in a leap year and after a downtime
--- servers
echo echo
--- stream_config eval: main::users('quota=1000 quota_reset=month@31')
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
main::at('2028-02-10');
is(main::use_up(400), 400, 'in February');
is(main::logged(1), 'ok 200 -', 'what is left');
main::at('2028-02-28', 86390 - 300);
is(main::use_up(50), 50, 'still');
is(main::logged(2), 'ok 100 -', 'it is the same period');
is(main::refused(), 1, 'all of it was used');
is(main::refused(), 1, 'the user is limited');
main::at('2028-02-29', 1);
is(main::use_up(300), 300, 'on the leap day it begins anew');
like(main::logged(5), qr/^ok 400 -$/, 'once for all workers');
is(main::use_up(50), 50, "flow $_ of others") for 1 .. 3;
like(main::logged(8), qr/^ok 100 -$/, 'and is counted');
main::at('2028-03-31', 1);
is(main::use_up(500), 500, 'on March 31');
is(main::refused(), 1, 'used up');
main::at('2028-07-15');
is(main::use_up(450), 450, 'three periods later');
like(main::logged(11), qr/^ok 100 -$/, 'it is one period');
main::at('2028-07-30', 80000);
is(main::use_up(25), 25, 'which is not over');
like(main::logged(12), qr/^ok 50 -$/, 'until its end');
wait_log(qr/vmess user "alice": up:\d+ down:\d+/);
--- stream_response: 1


=== TEST 2: an open flow goes on in the next period; a factor
--- servers
echo echo
--- stream_config eval: main::users('quota=1000 quota_reset=day')
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
vmess_factor 0.5;
proxy_pass vmess_target;
--- stream_client
main::at('2029-01-01', 86000);
my $f = main::client(to => 'echo', data => 'x' x 401);
is(length $f->read(401), 401, 'a flow');
is(main::use_up(501), 501, 'another one: half of it counts');
like(main::logged(1), qr/^ok 98 -$/, 'to the byte');
main::at('2029-01-02', 1);
$f->send('x' x 500);
is(length $f->read(500), 500, 'it goes on');
$f->close;
like(main::logged(2), qr/^ok 500 -$/, 'in a new period');
is(main::use_up(900), 900, 'the rest');
is(main::refused(), 1, 'is used up');
--- stream_response: 1


=== TEST 3: on hold until the first flow, which is not one that is refused
--- servers
echo echo
udp udp_echo
--- stream_config eval: main::users('hold=30d', 'hold=1d hold_until=2030-03-01')
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
vmess_commands tcp;
proxy_pass vmess_target;
--- stream_client
main::at('2030-01-01');
my $f = main::client(to => 'udp', cmd => 'udp');
is($f->read_eof, '', 'refused');
like(main::logged(1), qr/^command - -$/, 'it does not expire yet');
main::at('2030-02-01', 10);
$f = main::client(to => 'echo', data => 'x');
is($f->read(1), 'x', 'the first flow');
is(main::use_up(1), 1, 'another one');
like(main::logged(2), qr/^ok - (\d+)$/, 'expires');
my ($expires) = main::logged(2) =~ /(\d+)$/;
ok(abs($expires - Time::Local::timegm(10, 0, 0, 3, 2, 2030)) <= 60, 'in 30 days');
main::at('2030-03-02', 86390);
is(main::use_up(1), 1, 'not before');
main::at('2030-03-03', 100);
$f->read_eof;
is($f->{eof}, 1, 'the first one ends');
is(main::refused(), 1, 'the user has expired');
is(main::refused(user => 'bob'), 1, 'and one who was not there in time');
is(wait_log(qr/client opened a flow of user "bob", who has expired/), 1, 'the log says');
--- stream_response: 1


=== TEST 4: sub-connections and datagrams have the factor of the server
--- servers
echo echo
udp udp_echo
--- stream_config eval: main::users('quota=100000 quota_reset=7d')
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
vmess_factor 2.5;
proxy_pass vmess_target;
--- stream_client
main::at('2031-01-01');
my $f = main::client(to => 'udp', cmd => 'udp', data => 'x' x 1001);
is(length $f->receive, 1001, 'a datagram');
$f->close;
like(main::logged(1), qr/^ok 94995 -$/, 'counts two and a half times');
my $m = VMess::Mux->new(main::client(cmd => 'mux'));
$m->open(1, port => port('echo'), data => 'x' x 1000);
is(length $m->read(1, 1000), 1000, 'a sub-connection');
$m->open(2, net => 'udp', port => port('udp'), data => 'x' x 1000);
is(length $m->receive(2), 1000, 'and one of datagrams');
main::at('2031-01-09');
$m->open(3, port => port('echo'), data => 'x' x 20000);
is(length $m->read(3, 20000), 20000, 'all of the quota in the next period');
is($m->closed, 1, 'the connection ends');
is(main::refused(), 1, 'the user is limited');
--- stream_response: 1


=== TEST 5: a connection that had no flow yet is on hold, and ends with others
--- servers
echo echo
--- stream_config eval: main::users('hold=10d', 'expires=2032-01-02')
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
main::at('2032-01-01');
my @m = map { VMess::Mux->new(main::client(cmd => 'mux')) } 1 .. 16;

# workers have read all headers, and then have looked at all flows

my @bob = map { main::client(user => 'bob', to => 'echo', data => 'b') } 1 .. 16;
is(join('', map { $_->read(1) } @bob), 'b' x 16, 'flows of bob');
main::at('2032-01-02');
$_->read_eof for @bob;
is(scalar(grep { !$_->{eof} } @bob), 0, 'end');
$m[0]->open(1, port => port('echo'), data => 'x');
is($m[0]->read(1, 1), 'x', 'the first flow');
main::at('2032-01-12');
is(scalar(grep { !$_->closed } @m), 0, 'all of them end');
is(main::refused(), 1, 'the user has expired');
--- stream_response: 1


=== TEST 6: periods and the first flow outlive a reload, in another size as well
--- servers
echo echo
--- stream_config eval: main::users('quota=1000 quota_reset=30d hold=100d')
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
main::at('2033-01-01');
is(main::use_up(400), 400, 'the first flow');
main::at('2033-01-30');
edit_conf(sub { s/hold=100d/hold=90d/ });
reload();
is(main::use_up(50), 50, 'a flow');
like(main::logged(2), qr/^ok 100 \d+$/, 'in the same period');
edit_conf(sub { s/main:1m/main:2m/ });
reload();
is(main::use_up(25), 25, 'in another zone');
like(main::logged(3), qr/^ok 50 \d+$/, 'too');
main::at('2033-02-01');
is(main::use_up(400), 400, 'in the next one');
like(main::logged(4), qr/^ok 200 \d+$/, 'all of the quota');
main::at('2033-03-31');
is(main::use_up(1), 1, 'the last day');
main::at('2033-04-02');
is(main::refused(), 1, 'of 90');
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1


=== TEST 7: a period begins once, though flows of all workers count at once
--- servers
echo echo
--- stream_config eval: main::users('quota=100000 quota_reset=day')
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
main::at('2034-01-01');
my @f = map { main::client(to => 'echo', data => 'x' x 1000) } 1 .. 24;
is(length join('', map { $_->read(1000) } @f), 24000, 'flows of a day');
for my $day (2, 3, 7) {
    main::at("2034-01-0$day", 1);
    $_->send('x' x 100) for @f;
    is(length join('', map { $_->read(100) } @f), 2400, "and of day $day");
    main::use_up(1);
    my $n = { 2 => 1, 3 => 2, 7 => 3 }->{$day};
    like(main::logged($n), qr/^ok 95198 -$/, 'of which everything counts');
}
log_count(qr/\[alert\]/);
--- stream_response: 0


=== TEST 8: periods and the first flow outlive a restart, and a downtime of three periods
--- servers
echo echo
--- stream_config
vmess_users main:1m state=%%DIR%%/state {
    alice %%ALICE%% quota=1000 quota_reset=month@31 hold=150d;
}
log_format l '$vmess_status $vmess_quota_left $vmess_expires';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- may_alert
--- stream_client
main::at('2035-01-31', 300);
is(main::use_up(400), 400, 'the first flow');
like(main::logged(1), qr/^ok 200 \d+$/, 'what is left');
my ($expires) = main::logged(1) =~ /(\d+)$/;
ok(main::restart_at('2035-02-27'), 'a restart in the same period');
is(main::use_up(50), 50, 'a flow');
is(main::logged(2), "ok 100 $expires", 'nothing was forgotten');
ok(main::restart_at('2035-05-30'), 'and in another one');
is(main::use_up(300), 300, 'a flow');
is(main::logged(3), "ok 400 $expires", 'it was reset once');
main::at('2035-05-31', 1);
is(main::use_up(450), 450, 'and the next one begins in time');
is(main::logged(4), "ok 100 $expires", 'as it should');
main::at('2035-07-01', 400);
is(main::refused(), 1, 'the time that began before is over');
--- stream_response: 1

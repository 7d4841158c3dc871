# "state" of vmess_users: what outlives a restart, and files that are damaged.
#
#   TEST_VMESS_ROUNDS   how often processes are killed in tests of that, 20 by
#                       default

use lib "t/lib";
use VMess::Clock;
use VMess::Disk;
use VMess::Process;
use TestVMess;
use VMess::API;
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use IO::Socket::IP;
use POSIX ();
use Socket qw(SOCK_STREAM);
use Time::HiRes ();
use Test::Nginx::Util qw($ServRoot $PidFile $ConfFile);

plan "no_plan";
no_shuffle();
workers(2);

our $config = <<'END';
vmess main;
proxy_pass vmess_target;
END

our $state;                     # the directory
our $mounted;                   # where a disk is that gets full

my $owner = $$;

END {
    local $?;
    system("umount -l $mounted") if $mounted && $$ == $owner;
}


# adds the directory to the configuration of a block

sub users {
    my ($name) = @_;
    remove_tree("$Dir/$name");
    return "vmess_users main:1m state=%%DIR%%/$name {\n"
           . join('', map { "$_ %%\U$_\E%%;\n" } qw(alice bob)) . "}\n";
}


# ends nginx by a signal; KILL is for all of its processes

sub stop_nginx {
    my ($signal) = @_;
    my $pid = TestVMess::master_pid();
    my @all = ($pid, children());
    kill $signal, $signal eq 'KILL' ? @all : $pid;
    my $gone = wait_for(sub { !grep { alive($_) } @all });
    unlink $PidFile if $signal eq 'KILL';
    return $gone;
}


sub run_nginx {
    my $bin = $ENV{TEST_NGINX_BINARY} || 'nginx';
    my $preload = $ENV{TEST_NGINX_LD_PRELOAD};
    local $ENV{LD_PRELOAD} = $preload if $preload;
    my $out = `$bin @_ -p $ServRoot/ -c $ConfFile 2>&1`;
    return ($? >> 8 || $? & 127, $out);
}


sub start_nginx {
    my ($status, $out) = run_nginx();
    diag($out) if $status;
    return $status == 0 && wait_for(sub { -e $PidFile && workers_alive() >= 2 });
}


# the id of a flow has to be of a second after the start

sub one_flow {
    my ($user, $text) = @_;
    my $f = flow(to => 'echo', user => $user, data => $text, skew => 2);
    my $got = $f->read(length $text);
    $f->close;
    return $got;
}


# counters of a user as the log had them last

sub counted {
    my ($user) = @_;
    my @all = error_log() =~ /user "$user": (up:\d+ down:\d+) flows:\d+ (total:\d+)/g;
    return join ' ', @all[-2, -1];
}


# waits until so many flows are in the last line

sub wait_total {
    my ($user, $n) = @_;
    return wait_for(sub { counted($user) =~ /total:$n$/ }) && counted($user);
}


# a flow, and how many the user has had with it

sub flow_total {
    my ($user) = @_;
    my $n = log_count(qr/user "$user": up/);
    one_flow($user, 'hello');
    wait_log(qr/user "$user": up/, $n + 1);
    return (counted($user) =~ /total:(\d+)/)[0];
}


# waits until a file that counts has the number of a user's flows, which may be
# before it has their bytes: with "up", so many of these as well

sub saved {
    my ($user, $n, $up) = @_;
    return wait_for(sub {
        1 <= grep {
            my $is = records($_)->{$user} // {};
            number($is->{36}) == $n
                && (!defined $up || number($is->{32}) == $up && number($is->{33}) == $up)
        } grep { !/\.tmp$/ } files()
    });
}

sub number { return hex unpack 'H*', $_[0] // '' }

# the last record of each user

sub records {
    my $text = text($_[0]);
    my %record;
    return \%record if length $text < 34;
    substr($text, 0, unpack('x10 n', $text)) = '';
    while (length $text > 6) {
        my ($body) = unpack 'x4 n/a', $text;
        substr($text, 0, 6 + length $body) = '';
        my %field = unpack 'x (C C/a)*', $body;
        $record{$field{1}} = \%field if defined $field{1};
    }
    return \%record;
}


sub files {
    opendir my $d, $state or return;
    return sort grep { !/^\.|lock/ } readdir $d;
}

sub text { return TestVMess::file_text("$state/$_[0]") }

sub put_file {
    my ($name, $text) = @_;
    open my $fh, '>', "$state/$name" or die "$name: $!";
    binmode $fh;
    print $fh $text;
    CORE::close $fh;
}


# the number of the newest snapshot, 0: none

sub snapshot {
    return (sort { $a <=> $b } 0, map { /^snapshot\.(\d+)$/ } files())[-1];
}


sub crc32c {
    my $crc = 0xffffffff;
    for my $c (unpack 'C*', $_[0]) {
        $crc ^= $c;
        $crc = $crc & 1 ? $crc >> 1 ^ 0x82f63b78 : $crc >> 1 for 1 .. 8;
    }
    return $crc ^ 0xffffffff;
}


# a file as nginx makes it

sub header {
    my ($kind, $number, $zone, $version) = @_;
    my $head = "\x89VMST\r\n\x1a" . pack 'nn', $version // 1, 34 + length $zone;
    my $rest = pack 'CCQ>Q>a*', $kind, length $zone, $number, 1767225600, $zone;
    return $head . pack('N', crc32c($head . $rest)) . $rest;
}

sub record {
    my ($kind, %fields) = @_;
    my $body = pack 'C', $kind;
    $body .= pack 'C C/a', $_, $fields{$_} for sort { $a <=> $b } keys %fields;
    my $all = pack('n', length $body) . $body;
    return pack('N', crc32c($all)) . $all;
}

# a user with counters: bytes up, flows

sub counters {
    my ($user, $up, $total) = @_;
    my $id = pack 'H*', $User{$user} =~ tr/-//dr;
    return record(1, 1 => $user, 2 => $id, 19 => "\x01", 32 => pack('N', $up),
                  36 => pack('N', $total));
}

# who writes: the worker that has a journal open; waits until there is one

sub writer {
    my $pid;
    wait_for(sub {
        ($pid) = grep { my $p = $_; grep { (readlink($_) // '') =~ m{^\Q$state\E/journal\.\d+$} }
                                         glob("/proc/$p/fd/*") } children() });
    return $pid;
}


# the worker that has the lock, whether it writes or not

sub locker {
    my ($pid) = grep { my $p = $_; grep { TestVMess::file_text($_) =~ /^lock:.*OFDLCK/m }
                                        glob("/proc/$p/fdinfo/*") } children();
    return $pid;
}


# a time by the clock that is only set ahead

my $ahead = 0;

sub ahead { return $ahead += $_[0] }


# a client of the API that goes on until nginx is killed, in a process of its own; it
# tells what it is about to do, and what was confirmed, as lines "name value"

sub changes {
    my ($n, $client) = @_;
    my $api = VMess::API->new(connect => sub { IO::Socket::IP->new(
        PeerHost => '127.0.0.1', PeerPort => http_port(), Type => SOCK_STREAM)
            || POSIX::_exit(0) });
    my $pid = fork // die $!;
    return $pid if $pid;

    open my $fh, '>>', "$Dir/client.$client" or POSIX::_exit(1);

    while (1) {
        my $name = $client eq 'list' ? 'list' : "$client-" . int rand 4;
        my $value = ++$n;
        my @request;

        if ($client eq 'list') {
            @request = (PATCH => 'users', { users => [ map { {
                name => "list-$_", quota => $value,
                id => sprintf '00000000-0000-4000-8%03x-%012x', $value & 0xfff, $_ } } 1 .. 450 ] });

        } elsif (rand 3 < 1) {
            $value = 0;
            @request = (DELETE => "users/$name");

        } else {
            my ($client_n, $user_n) = $name =~ /(\d+)-(\d+)/;
            @request = (PUT => "users/$name", { quota => $value,
                id => sprintf '00000000-0000-4000-9%03x-%012x', $client_n, $user_n });
        }

        syswrite $fh, "try $name $value\n";
        my $status = $api->request(@request)->{status};
        syswrite $fh, "ok $name $value\n" if $status =~ /^2/ || $status == 404;
        POSIX::_exit(0) if !$status;
    }
}


# quotas of such users, those behind that number

sub quotas {
    my ($api, $n) = @_;
    my ($after, %quota) = '';
    while (defined $after) {
        my $page = $api->request(GET => "users?limit=1000$after")->{json};
        $quota{$_->{quota} // 0} = 1 for grep { $_->{name} =~ /^u(\d+)/ && $1 > $n } @{ $page->{users} };
        $after = defined $page->{next} ? "&after=$page->{next}" : undef;
    }
    return join ' ', sort keys %quota;
}

# a request that gives users of these numbers that quota

sub list {
    my ($first, $last, $quota) = @_;
    my $body = '{"users":[' . join(',', map { sprintf
        '{"name":"u%05d","class":"customers","id":"00000000-0000-4000-8000-%012x","quota":%d}', $_, $_, $quota
    } $first .. $last) . ']}';
    return "PATCH /api/users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
           . "Content-Type: application/json\r\nContent-Length: " . length($body)
           . "\r\n\r\n$body";
}


# what users may be: what was confirmed last, or what was tried after it; as
# { name => { value => 1 } }, where 0 is no user

sub expected {
    my %may;
    for my $client (@_) {
        for (split /\n/, TestVMess::file_text("$Dir/client.$client")) {
            my ($what, $name, $value) = split;
            $may{$name} = {} if $what eq 'ok';
            $may{$name}{0} = 1 if !$may{$name};
            $may{$name}{$value} = 1;
        }
    }
    return \%may;
}


our ($snapshot, $changes, $end) = (1, 2, record(5));

run_tests();

__DATA__

=== TEST 1: counters outlive a restart of each kind
--- servers
echo echo
--- stream_config eval
main::users('one')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/one";
is(one_flow('alice', 'hello'), 'hello', 'a flow');
is(wait_total('alice', 1), 'up:5 down:5 total:1', 'is counted');

ok(stop_nginx('QUIT'), 'a quiet stop');
ok(start_nginx(), 'a start');
one_flow('alice', 'world!');
is(wait_total('alice', 2), 'up:11 down:11 total:2', 'counters go on');
one_flow('bob', 'x');

ok(stop_nginx('TERM'), 'a fast stop');
ok(start_nginx(), 'a start');
one_flow('alice', '1');
is(wait_total('alice', 3), 'up:12 down:12 total:3', 'nothing is lost');

# what is in a file is safe

one_flow('bob', 'y');
is(saved('bob', 2, 2), 1, 'a flow is written soon');
is(saved('alice', 3, 12), 1, 'and so was the one before');
ok(stop_nginx('KILL'), 'killed');
ok(start_nginx(), 'a start');
one_flow('alice', '2');
one_flow('bob', 'z');
is(wait_total('alice', 4) || counted('alice'), 'up:13 down:13 total:4', 'alice');
is(wait_total('bob', 3), 'up:3 down:3 total:3', 'bob');

is(sprintf('%o', (stat $state)[2] & 07777), '700', 'the directory is private');
is(join(' ', map { sprintf '%o', (stat "$state/$_")[2] & 07777 } (files())[0]), '600',
   'and so are files');
1;
--- stream_response: 1


=== TEST 2: what was used before a restart is refused after it
--- servers
echo echo
--- stream_config eval
main::users('two') . <<'END';
log_format status '$vmess_status $vmess_user';
access_log %%DIR%%/stream.log status;
END
--- stream_server_config eval
$main::config
--- stream_client
$state = "$Dir/two";
my $c = vmess(to => 'echo');
my $s = tcp();
$c->connect($s, data => 'once');
is($c->read(4), 'once', 'the first start refuses nobody');
my $header = $c->header;
$c->close;

wait_for(sub { -e "$state/lock" });
stop_nginx('QUIT');
ok(start_nginx(), 'a start');

my $r = tcp();
put($r, $header);
shutdown $r, 1;
is(slurp($r), '', 'the header is refused');
is(wait_for(sub { access_log() =~ /^time -$/m }), 1, 'as one of another time');
is(one_flow('alice', 'new'), 'new', 'a new one is not');

# the zone was not in use for long

stop_nginx('QUIT');
utime time - 400, time - 400, "$state/lock" or die $!;
ok(start_nginx(), 'a start much later');
my $f = flow(to => 'echo', data => 'old', skew => -30);
is($f->read(3), 'old', 'nothing is refused');
$f->close;
1;
--- stream_response: 1


=== TEST 3: reload: another worker writes, counters go on
--- servers
echo echo
--- stream_config eval
main::users('three')
--- stream_server_config eval
$main::config
--- stream_client
$state = "$Dir/three";
is(wait_for(sub { snapshot() == 1 }), 1, 'a snapshot');
my $f = flow(to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow');

for my $n (2 .. 4) {
    reload();
    is(wait_for(sub { snapshot() == $n }), 1, "snapshot $n");
}

is(wait_for(sub { join(' ', files()) eq 'journal.3 journal.4 snapshot.3 snapshot.4' }), 1,
   'the snapshot before the last is kept');

$f->send('still');
is($f->read(5), 'still', 'the flow goes on');
$f->close;
wait_total('alice', 1);
wait_for(sub { workers_alive() == 2 });
stop_nginx('QUIT');
ok(start_nginx(), 'a start');
one_flow('alice', 'x');
is(wait_total('alice', 2), 'up:11 down:11 total:2', 'what an old worker counted is there');
1;
--- stream_response: 1


=== TEST 4: a worker is killed, another one writes
--- servers
echo echo
--- stream_config eval
main::users('four')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/four";
is(wait_for(sub { snapshot() == 1 }), 1, 'a snapshot');
kill 'KILL', children();
is(wait_for(sub { snapshot() == 2 }), 1, 'the next one');
one_flow('alice', 'hello');
wait_total('alice', 1);
stop_nginx('TERM');
ok(start_nginx(), 'a start');
one_flow('alice', 'hello');
is(wait_total('alice', 2), 'up:10 down:10 total:2', 'all is there');
1;
--- stream_response: 1


=== TEST 5: killed at any time, the state is good, at most a second is lost
--- servers
echo echo
--- stream_config eval
main::users('five')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/five";
my ($flows, $saved, $bad) = (0, 0, 0);

for my $round (1 .. $ENV{TEST_VMESS_ROUNDS} || 20) {

    $flows = flow_total('alice') for 0 .. rand 3;

    # what is in a file is safe

    if ($round % 4 == 1) {
        $bad++ if !saved('alice', $flows);
        $saved = $flows;
    }

    select undef, undef, undef, rand 0.1;

    if ($round % 3 == 0) {
        my $pid = (children())[rand 2];
        kill 'KILL', $pid;
        wait_for(sub { !alive($pid) && workers_alive() == 2 });
        next;
    }

    stop_nginx('KILL');

    if (!start_nginx()) {
        $bad++;
        last;
    }

    my $total = flow_total('alice');

    $bad++ if $total <= $saved || $total > $flows + 1;
    $flows = $total;
}

is($bad, 0, 'each time it was there');
is(log_count(qr/damaged|not whole|missing/), 0, 'and good');
1;
--- stream_response: 1


=== TEST 6: damaged, foreign and newer files
--- servers
echo echo
--- stream_config eval
main::users('six')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/six";
stop_nginx('QUIT');

my $snap = header($snapshot, 1, 'main') . counters('alice', 100, 10)
           . counters('bob', 1, 1) . $end;
my $snap1 = $snap . record(6, 66 => "\x02");
my $snap2 = header($snapshot, 2, 'main') . counters('alice', 200, 20) . $end
            . record(6, 66 => "\x01");
my $one = header($changes, 1, 'main') . counters('alice', 150, 15) . $end
          . counters('alice', 180, 18) . $end;
my $two = header($changes, 2, 'main') . counters('alice', 300, 30) . $end;

# name, files, what is said, and what is counted after a start: undef, there is none

sub with {
    my ($name, $files, $said, $up, $level) = @_;
    remove_tree($state);
    make_path($state, { mode => 0700 });
    put_file($_, $files->{$_}) for keys %$files;
    my $error = "$Dir/error.log";
    my $from = -s $error;

    my ($status, $out) = run_nginx('-t', '-e stderr');
    is($status, defined $up ? 0 : 1, "$name: nginx -t");

    if (defined $up) {
        ok(start_nginx(), "$name: start");
        one_flow('alice', 'x');
        my ($n, $total) = @$up;
        $n++, $total++;
        is(wait_for(sub { counted('alice') =~ /up:$n .*total:$total$/ }), 1, "$name: counters")
            or diag(counted('alice'));
        stop_nginx('QUIT');

    } else {
        is((run_nginx())[0], 1, "$name: no start");
        is(text($_), $files->{$_}, "$name: $_ is as before") for keys %$files;
        is(scalar(my @f = files()), keys %$files, "$name: there is no other file");
    }

    my $log = substr(error_log(), $from);
    like($log, $said, "$name: log") if $said;
    unlike($log, qr/\[(emerg|alert|crit)\]/, "$name: is no fault") if !$said;
}

with('whole', { 'snapshot.1' => $snap1, 'journal.1' => $one }, undef, [180, 18]);
with('journals only', { 'journal.1' => $one, 'journal.2' => $two }, undef, [300, 30]);
with('a snapshot before journals of two starts',
     { 'snapshot.1' => $snap1, 'journal.1' => $one, 'journal.2' => $two }, undef, [300, 30]);
with('other files', { 'snapshot.1' => $snap1, 'journal.1' => $one, 'journal.x' => 'y',
     'snapshot.2.tmp' => 'z', 'journal.' => '', 'notes' => 'w' }, undef, [180, 18]);
with('a torn journal', { 'snapshot.1' => $snap1, 'journal.1' => substr($one, 0, -3) },
     qr/warn.*journal\.1" was not written.*offset 92/, [150, 15]);
with('a hole before an end that something follows', { 'snapshot.1' => $snap1,
     'journal.1' => substr($one, 0, 92) . "\0" x 20 . substr($one, 112) . 'x' },
     qr/emerg.*journal\.1" is damaged, at offset 92; restore/);
with('a part that was not written in the order of its pages', { 'snapshot.1' => $snap1,
     'journal.1' => substr($one, 0, 92) . "\0" x 20 . substr($one, 112, -length $end)
                    . counters('bob', 2, 2) . $end },
     qr/warn.*journal\.1" was not written.*offset 92/, [150, 15]);
with('zeros behind the end', { 'snapshot.1' => $snap1, 'journal.1' => $one . "\0" x 4096 },
     qr/warn.*journal\.1" was not written/, [180, 18]);
with('a journal that was just begun',
     { 'snapshot.1' => $snap1, 'journal.1' => header($changes, 1, 'main') }, undef, [100, 10]);
with('a torn snapshot falls back', { 'snapshot.1' => $snap1, 'journal.1' => $one,
     'snapshot.2' => substr($snap2, 0, -2), 'journal.2' => $two },
     qr/alert.*snapshot\.2" is not whole/, [300, 30]);
with('a flipped bit in a snapshot falls back', { 'snapshot.1' => $snap1, 'journal.1' => $one,
     'snapshot.2' => $snap2 ^ ("\0" x 50 . "\1"), 'journal.2' => header($changes, 2, 'main') },
     qr/alert.*snapshot\.2" is not whole/, [180, 18]);
with('no good snapshot', { 'snapshot.2' => substr($snap2, 0, -2), 'journal.2' => $two },
     qr/emerg.*no good snapshot/);
with('a bad first snapshot, and all journals',
     { 'snapshot.1' => substr($snap1, 0, -1), 'journal.1' => $one },
     qr/alert.*snapshot\.1" is not whole/, [180, 18]);
with('a flipped bit in a journal', { 'snapshot.1' => $snap1,
     'journal.1' => $one ^ ("\0" x 45 . "\1") },
     qr/emerg.*journal\.1" is damaged, at offset 38; restore/);
with('a flipped bit in a header', { 'journal.1' => $one ^ ("\0" x 20 . "\1") },
     qr/emerg.*journal\.1" has a damaged header/);
with('an empty file', { 'snapshot.1' => $snap1, 'journal.1' => '' },
     qr/emerg.*journal\.1" is empty/);
with('an empty snapshot', { 'snapshot.1' => '', 'journal.1' => $one },
     qr/emerg.*snapshot\.1" is empty/);
with('a file of something else', { 'journal.1' => 'x' x 100 },
     qr/emerg.*journal\.1" is not one of "state"/);
with('a newer version', { 'journal.1' => header($changes, 1, 'main', 2) },
     qr/emerg.*journal\.1" is of a newer version/);
with('a newer record', { 'journal.1' => header($changes, 1, 'main') . record(0x30) . $end },
     qr/emerg.*journal\.1" has a record of a newer version, at offset 38/);
for my $period ([6, 1], [0xffff, 1], [5, 0], [5, 36501], [3, 32]) {
    my $bad = header($changes, 1, 'main')
              . record(1, 1 => 'alice', 2 => 'x' x 16, 9 => pack('NN', @$period)) . $end;
    with("an impossible period, @$period", { 'snapshot.1' => $snap1, 'journal.1' => $bad },
         qr/emerg.*journal\.1" has a record with an invalid period, at offset 38/);
}
with('another zone', { 'journal.1' => header($changes, 1, 'other') },
     qr/emerg.*journal\.1" is of another zone/);
with('another name', { 'journal.1' => $two },
     qr/emerg.*journal\.1" was given another name/);
with('a missing journal', { 'snapshot.1' => $snap1, 'journal.2' => $two },
     qr/emerg.*journal\.1" is missing/);
with('a snapshot and no journal', { 'snapshot.1' => $snap1 },
     qr/emerg.*journal\.1" is missing/);

remove_tree($state);
open my $fh, '>', $state or die $!;
is((run_nginx('-t'))[0], 1, 'a file in place of the directory');
unlink $state;
ok(start_nginx(), 'a start without files');
1;
--- stream_response: 1


=== TEST 7: a full disk
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('seven')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/seven";
SKIP: {
    stop_nginx('QUIT');
    remove_tree($state);
    mkdir $state;
    skip 'no mount', 1 if system("mount -t tmpfs -o size=64k none $state 2>/dev/null") != 0;
    $mounted = $state;

    ok(start_nginx(), 'a start');
    is(wait_for(sub { snapshot() == 1 }), 1, 'a snapshot');
    one_flow('alice', 'hello');
    wait_total('alice', 1);
    is(saved('alice', 1, 5), 1, 'a flow is written');

    open my $fh, '>', "$state/big" or die $!;
    1 while syswrite $fh, 'x' x 4096;
    CORE::close $fh;

    # another worker begins a journal

kill 'KILL', children();
is(wait_log(qr/alert.*No space left on device/), 1, 'an alert');
is(one_flow('alice', 'hello'), 'hello', 'serving goes on');

is(log_count(qr/No space left/), 1, 'there is one');

    # a change is made, and told not to be saved

    my $api = VMess::API->new(connect => sub { tcp(http_port()) });
    my $carol = { id => '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11' };
    my $answer = $api->call('PUT', 'users/carol', $carol);
    is($answer->{status}, 503, 'a change is not confirmed');
    is($answer->{json}{error}{code}, 'NotSaved', 'as it is not saved');
    like($answer->{json}{error}{text}, qr/in effect, but is not saved .*"main"/, 'a text says so');
    is($api->call('GET', 'users/carol')->{status}, 200, 'it is in effect');
    is($api->call('POST', 'users/carol/kick')->{status}, 200, 'what is not kept is confirmed');

    unlink "$state/big";
    is(wait_log(qr/notice.*is written to again/), 1, 'and it succeeds');
    wait_for(sub { snapshot() > 1 });
    is($api->call('PUT', 'users/carol', $carol)->{status}, 200, 'now it is');
    is(join(' ', $api->problems), '', 'as the document says');

    stop_nginx('KILL');
    ok(start_nginx(), 'a start');
    is($api->call('GET', 'users/carol')->{status}, 200, 'the user is there');
    stop_nginx('QUIT');
    ok(start_nginx(), 'a start');
    one_flow('alice', 'hello');
    is(wait_total('alice', 3), 'up:15 down:15 total:3', 'all is there');
    stop_nginx('QUIT');
    system("umount $state") == 0 or die;
    undef $mounted;
    start_nginx();
}
1;
--- stream_response: 1


=== TEST 8: binary upgrade: the new master gets the lock, and the old one again
--- servers
echo echo
--- stream_config eval
main::users('eight')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/eight";
is(wait_for(sub { snapshot() == 1 }), 1, 'a snapshot');
one_flow('alice', 'hello');
wait_total('alice', 1);
my $old = TestVMess::master_pid();
saved('alice', 1);

kill 'USR2', $old;
is(wait_for(sub { my $pid = TestVMess::master_pid();
                  $pid && $pid != $old && workers_alive() >= 2 }), 1, 'a new master');
is(wait_for(sub { snapshot() == 2 }), 1, 'its worker writes');
my $new = TestVMess::master_pid();

# the old one is to stay

kill 'KILL', $new, children();
is(wait_for(sub { !alive($new) }), 1, 'the new one is killed');
is(wait_for(sub { snapshot() == 3 }, 30), 1, 'the old one writes');
rename "$PidFile.oldbin", $PidFile;
one_flow('alice', 'hello');
like(wait_total('alice', 2), qr/total:2/, 'it has counted on');
1;
--- stream_response: 1


=== TEST 9: users made, changed and removed at run time
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('nine')
--- stream_server_config eval
$main::config
--- stream_client
$state = "$Dir/nine";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
my %id = (carol => '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11',
          dave => '8c9e6679-7425-40de-944b-e07fc1f90ae7',
          erin => 'd4c1a9a0-7b58-4b7e-8f43-0a9e5d2c6b17');
my %value = (expires => '2040-01-31T18:00:00Z', quota => 1000000, quota_reset => 'month@31',
             rate_up => 1000000, rate_down => 2000000, max_conns => 5, max_ips => 2,
             class => 'gold');

for my $name (sort keys %id) {
    is($api->call('PUT', "users/$name", { id => $id{$name}, %value, token => "imported_token-$name" })->{status},
       201, "$name is made");
}

is(wait_for(sub { 5 <= keys %{ { map { %{ records($_) } } files() } } }), 1, 'they are written');
my $f = vmess(to => 'echo', uuid => $id{carol}, skew => 2)->connect(tcp(), data => 'hello');
is($f->read(5), 'hello', 'a flow');
$f->close;
is(saved('carol', 1, 5), 1, 'is counted');

is($api->call('PATCH', 'users/carol', { quota => 5000, class => 'x' })->{status},
   200, 'a change');
like($api->call('POST', 'users/dave/token')->{json}{token}, qr/^[\w-]{22}$/, 'a token');
is($api->call('DELETE', 'users/erin')->{status}, 204, 'a removal');

# the id goes to another user, and so may the place in memory

is($api->call('PUT', 'users/frank', { id => $id{erin} })->{status}, 201,
   'the id of the one who has gone');
my $before = $api->call('GET', 'users')->{json}{users};
is(wait_for(sub { 1 <= grep { exists records($_)->{frank} } files() }), 1, 'is written');

for my $signal ('TERM', 'KILL') {
    stop_nginx($signal);
    ok(start_nginx(), "a start after $signal");
    $api = VMess::API->new(connect => sub { tcp(http_port()) });
    my $after = $api->call('GET', 'users')->{json}{users};
    is(join(' ', map { $_->{name} } @$after), 'alice bob carol dave frank', 'the same users');

    for my $i (0 .. $#$before) {
        my ($b, $a) = ($before->[$i], $after->[$i]);
        delete @$_{qw(period flows addresses)} for $a, $b;
        is_deeply($a, $b, "$b->{name} is as before");
    }
}
1;
--- stream_response: 1


=== TEST 10: files that cannot be opened, and records of users
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('ten')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/ten";
stop_nginx('QUIT');

sub user {
    my ($name, $id, %o) = @_;
    return record(1, 1 => $name, 2 => pack('H*', $id x 16), 19 => "\x02", %o);
}

# a folder in place of a file

remove_tree($state);
make_path("$state/journal.1");
is((run_nginx('-t', '-e stderr'))[0], 1, 'nginx -t');
like((run_nginx('-t', '-e stderr'))[1], qr/emerg.*reading ".*journal\.1" failed/, 'a message');

for my $name ('lock', 'journal.1.tmp', 'snapshot.1.tmp') {
    remove_tree($state);
    make_path("$state/$name");
    my ($failed, $again) = map { log_count($_) } qr/failed, users and counters/, qr/written to again/;
    ok(start_nginx(), "$name: a start");

    # the lock is tried by both workers

    $failed++ if $name eq 'lock';
    is(wait_log(qr/alert.*failed, users and counters/, $failed + 1), 1, "$name: an alert");
    is(one_flow('alice', 'hello'), 'hello', "$name: a flow");
    rmdir "$state/$name";
    ok(wait_for(sub { snapshot() }), "$name: it is written");
    is(wait_log(qr/notice.*written to again/, $again + 1), 1, "$name: a notice");
    stop_nginx('QUIT');
}

# more than there is room for

remove_tree($state);
make_path($state);
my $many = header($changes, 1, 'main');
$many .= record(1, 1 => "u$_", 2 => pack('N4', 7, 7, 7, $_), 19 => "\x02") for 1 .. 9000;
put_file('journal.1', $many . $end);
my ($status, $out) = run_nginx('-t', '-e stderr');
is($status, 1, 'a zone that is too small');
like($out, qr/emerg.*no room for user "u\d+" of ".*ten"/, 'a message');

# an id that went from one to another, and back

put_file('journal.1', header($changes, 1, 'main') . user('carol', '0a', 36 => "\x07") . $end
         . user('dave', '0a', 36 => "\x08", 3 => pack('H*', '0b' x 16)) . $end
         . user('carol', '0c', 36 => "\x09") . user('erin', '0d') . $end
         . record(2, 1 => 'erin') . record(2, 1 => 'nobody') . $end
         . record(3, 1 => 'carol', 36 => "\x0a") . record(3, 1 => 'nobody', 36 => "\x01") . $end);
ok(start_nginx(), 'a start');
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
my $users = $api->call('GET', 'users')->{json}{users};
my %user = map { $_->{name} => $_ } @$users;
is(join(' ', sort keys %user), 'alice bob carol dave', 'users');
like($user{dave}{also} // '', qr/^0b0b0b0b-/, 'a second id');
1;
--- stream_response: 1


=== TEST 11: another directory after a reload
--- servers
echo echo
--- stream_config eval
main::users('eleven')
--- stream_server_config eval
$main::config
--- stream_client
$state = "$Dir/eleven";
remove_tree("$Dir/other");
is(wait_for(sub { snapshot() == 1 }), 1, 'a snapshot');

for my $n (2 .. 4) {
    reload();
    is(wait_for(sub { snapshot() == $n }), 1, "snapshot $n");
}

wait_for(sub { workers_alive() == 2 });
edit_conf(sub { s!/eleven!/other! });
is(reload(), 1, 'a reload');
$state = "$Dir/other";
is(wait_for(sub { snapshot() == 1 }), 1, 'its first snapshot');
one_flow('alice', 'hello');
is(saved('alice', 1), 1, 'what follows is saved');
is(join(' ', files()), 'journal.1 snapshot.1', 'numbers of the other one do not count');
ok(stop_nginx('QUIT'), 'a stop');
ok(start_nginx(), 'a start');
one_flow('alice', 'x');
is(wait_total('alice', 2), 'up:6 down:6 total:2', 'counters go on');
1;
--- stream_response: 1


=== TEST 12: a stop amid a snapshot
--- servers
echo echo
--- stream_config eval
my $users = main::users('twelve');
$users =~ s/:1m/:60m/;
$users =~ s/}\n\z/join '', map { sprintf "u%05d 00000000-0000-4000-8000-%012x;\n", $_, $_ } 1 .. 20000/e;
$users . "}\n"
--- stream_server_config eval
$main::config
--- stream_client
$state = "$Dir/twelve";
is(wait_for(sub { snapshot() == 1 }), 1, 'a snapshot');

# users of new memory do not know that they are in files

for my $size (61 .. 63) {
    my $n = snapshot() + 1;
    edit_conf(sub { s/main:6\d+m/main:${size}m/ });
    kill 'HUP', TestVMess::master_pid();
    is(wait_for(sub { -e "$state/snapshot.$n.tmp" || snapshot() == $n }), 1, "snapshot $n is begun");
    ok(stop_nginx('TERM'), 'a stop');
    is(snapshot(), $n, 'it is whole');
    ok(start_nginx(), 'a start');
    is(wait_for(sub { snapshot() == $n + 1 }), 1, 'another snapshot');
}
1;
--- stream_response: 1


=== TEST 13: a user is removed before anything was written
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('thirteen')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/thirteen";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
$api->call('PUT', 'users/carol', { id => '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11' });
stop_nginx('TERM');

# nobody gets the lock

unlink "$state/lock";
make_path("$state/lock");
ok(start_nginx(), 'a start');
my @names = map { $_->{name} } @{ $api->call('GET', 'users')->{json}{users} };
is("@names", 'alice bob carol', 'a user was kept');

# the time that it is waited for passes at once

my ($time, $pid) = (main::ahead(10), fork // die $!);
if (!$pid) {
    wait_for(sub { $api->request(GET => 'users/carol')->{status} == 404 });
    set_clock(monotonic => $time);
    POSIX::_exit(0);
}
is($api->call('DELETE', 'users/carol')->{status}, 503, 'and is removed, which is not saved');
waitpid $pid, 0;
rmdir "$state/lock";
stop_nginx('TERM');

ok(start_nginx(), 'a start');
@names = map { $_->{name} } @{ $api->call('GET', 'users')->{json}{users} };
is("@names", 'alice bob', 'it is not there again');
1;
--- stream_response: 1
=== TEST 14: what the API has confirmed is there after kill -9
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('fourteen')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/fourteen";
my @clients = (1 .. 3, 'list');
my ($lost, $half, $confirmed, $n) = (0, 0, 0, 1);
my $rounds = $ENV{TEST_VMESS_ROUNDS} || 20;
my $api = VMess::API->new(connect => sub { tcp(http_port()) });

for my $round (1 .. $rounds) {
    unlink "$Dir/client.$_" for @clients;

    # they begin with what is there

    my (%before, @pids);
    $before{$_->{name}} = $_->{quota} for @{ $api->call('GET', 'users')->{json}{users} };
    for my $client (@clients) {
        open my $fh, '>', "$Dir/client.$client" or die $!;
        print $fh "ok list ", $before{'list-1'} // 0, "\n" if $client eq 'list';
        print $fh map { "ok $client-$_ " . ($before{"$client-$_"} // 0) . "\n" } 0 .. 3
            if $client ne 'list';
        CORE::close $fh;
        push @pids, changes($n += 10000, $client);
    }

    # some are confirmed

    wait_for(sub { !grep { TestVMess::file_text("$Dir/client.$_") !~ /try.*\nok/ } @clients });
    select undef, undef, undef, rand 0.2;

    if ($round % 4 == 0) {

        # who writes, and after it all; of a list that it applies, half is made then

        TestVMess::halt('KILL', writer());
        select undef, undef, undef, rand 0.5;
    }

    # none of them sees another one die

    TestVMess::halt('STOP', TestVMess::master_pid(), children());
    stop_nginx('KILL');
    waitpid $_, 0 for @pids;

    if (!start_nginx()) {
        $lost++;
        last;
    }

    my %after = map { $_->{name} => $_->{quota} }
                @{ $api->call('GET', 'users')->{json}{users} };
    my $may = expected(@clients);

    for my $client (@clients) {
        my $first = TestVMess::file_text("$Dir/client.$client") =~ s/try.*//sr;
        $confirmed += () = TestVMess::file_text("$Dir/client.$client") =~ /^ok/mg;
        $confirmed -= () = $first =~ /^ok/mg;
    }

    my %lists = map { $after{"list-$_"} // 0 => 1 } 1 .. 450;
    my $made = $round % 4 || TestVMess::file_text("$Dir/client.list") =~ /ok.*\n\z/;
    $half++ if keys %lists != 1 && $made;
    delete $may->{list}{$_} and $may->{list}{found} = 1 for keys %lists;
    if (!$may->{list}{found}) {
        $lost++;
        diag("round $round: the list is ", join ' ', keys %lists);
    }

    for my $name (grep { $_ ne 'list' } keys %$may) {
        next if $may->{$name}{ $after{$name} // 0 };
        $lost++;
        diag("round $round: $name is ", $after{$name} // 0, ', not ',
             join ' or ', keys %{ $may->{$name} });
    }
}

is($lost, 0, 'nothing that was confirmed is lost');
is($half, 0, 'lists are there as a whole, or not at all');
cmp_ok($confirmed, '>', $rounds, 'there was something');
diag("$rounds rounds, $confirmed confirmed changes") if $ENV{TEST_VMESS_ROUNDS};
1;
--- stream_response: 1


=== TEST 15: who writes does not, or is killed, while a change waits for it
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('fifteen')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/fifteen";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
my $id = '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11';
is($api->call('PUT', 'users/carol', { id => $id })->{status}, 201, 'a user');

my $writer = writer();
TestVMess::halt('STOP', $writer);

# the time that it waits for that passes at once

my ($time, $pid) = (main::ahead(10), fork // die $!);
if (!$pid) {
    wait_for(sub { ($api->request(GET => 'users/carol')->{json}{quota} // 0) == 1000 });
    set_clock(monotonic => $time);
    POSIX::_exit(0);
}
is($api->call('PATCH', 'users/carol', { quota => 1000 })->{status}, 503, 'nobody saves it');
waitpid $pid, 0;

my $s = tcp(http_port());
my $body = '{"quota":2000}';
put($s, "PATCH /api/users/carol HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        . "Content-Type: application/json\r\nContent-Length: 14\r\n\r\n$body");
is(wait_for(sub { $api->request(GET => 'users/carol')->{json}{quota} == 2000 }), 1,
   'a change is made');
ok(!IO::Select->new($s)->can_read(0), 'and waits');
kill 'KILL', $writer;
like(slurp($s), qr/^HTTP\/1.1 200 /, 'another one saves it');

stop_nginx('KILL');
ok(start_nginx(), 'a start');
is($api->call('GET', 'users/carol')->{json}{quota}, 2000, 'it is there');
is(join(' ', $api->problems), '', 'answers are as the document says');
1;
--- stream_response: 1


=== TEST 16: a change while nginx is to quit
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('sixteen')
--- stream_server_config eval
$main::config
--- quits
--- stream_client
$state = "$Dir/sixteen";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
my $id = '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11';
is($api->call('PUT', 'users/carol', { id => $id })->{status}, 201, 'a user');

# the last byte comes when nobody writes any more

my @s = map { tcp(http_port()) } 1 .. 4;
put($_, "PATCH /api/users/carol HTTP/1.1\r\nHost: localhost\r\n"
        . "Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"quota\":2000") for @s;
wait_taken(http_port());
my @all = (TestVMess::master_pid(), children());
kill 'QUIT', $all[0];
is(wait_for(sub { !grep { my $p = $_; grep { (readlink($_) // '') =~ m{^\Q$state\E/lock$} }
                                           glob("/proc/$p/fd/*") } children() }), 1,
   'nobody writes');
put($_, '}') for @s;
for my $s (@s) {
    like(slurp($s), qr/^HTTP\/1.1 200 /, 'a change is confirmed');
    CORE::close $s;
}

is(wait_for(sub { !grep { alive($_) } @all }), 1, 'nginx has gone');
ok(start_nginx(), 'a start');
is($api->call('GET', 'users/carol')->{json}{quota}, 2000, 'it is there');
1;
--- stream_response: 1


=== TEST 17: a user is removed while the first snapshot is written
--- config
location /api/ { vmess_api main write; client_max_body_size 8m; client_body_buffer_size 8m; }
--- servers
echo echo
--- stream_config eval
main::users('seventeen') =~ s/:1m/:64m/r
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/seventeen";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
is($api->call('PUT', 'users', { users => [map { {
       name => sprintf('u%05d', $_),
       id => sprintf('00000000-0000-4000-8000-%012x', $_),
   } } 1 .. 20000] })->{status}, 200, 'users');
stop_nginx('TERM');

# who writes waits for the disk amid it

my $n = snapshot() + 1;
slow_disk(1e6, 'snapshot');
start_nginx();
ok(wait_for(sub { -s "$state/snapshot.$n.tmp" }), 'a snapshot is begun');
my @names = text("snapshot.$n.tmp") =~ /u\d{5}/g;
my $name = $names[0];
cmp_ok(scalar @names, '<', 20000, 'it is not whole');
my $s = tcp(http_port());
put($s, "DELETE /api/users/$name HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
is(wait_for(sub { $api->request(GET => "users/$name")->{status} == 404 }), 1,
   'a user in it is removed');
slow_disk(0);
like(slurp($s), qr/^HTTP\/1.1 204 /, 'and that is saved');
stop_nginx('KILL');
ok(start_nginx(), 'a start');
is($api->call('GET', "users/$name")->{status}, 404, 'he is not there again');
is($api->call('GET', 'stats')->{json}{users}, 20001, 'others are');
1;
--- stream_response: 1


=== TEST 18: old files that cannot be deleted
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('eighteen')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/eighteen";
wait_for(sub { snapshot() == 1 });
make_path("$state/snapshot.99.tmp");
put_file('journal.98.tmp', 'x');
reload();
is(wait_log(qr/alert.*deleting old files in ".*eighteen" failed/), 1, 'an alert');
is(wait_for(sub { workers_alive() == 2 }), 1, 'an old worker has gone');
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
is($api->call('PUT', 'users/carol', { id => '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11' })->{status},
   201, 'a change is saved');
is(join(' ', files()), 'journal.1 journal.2 snapshot.1 snapshot.2 snapshot.99.tmp',
   'no other snapshot is made, others are deleted');
rmdir "$state/snapshot.99.tmp";
1;
--- stream_response: 1


=== TEST 19: what is confirmed in another directory after a reload is there with all of before
--- config
location /api/ { vmess_api main write; client_max_body_size 8m; client_body_buffer_size 8m; }
--- servers
echo echo
--- stream_config eval
main::users('nineteen') =~ s/:1m/:64m/r
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/nineteen";
remove_tree("$Dir/moved");
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
is($api->call('PUT', 'users', { users => [map { {
       name => sprintf('u%05d', $_),
       id => sprintf('00000000-0000-4000-8000-%012x', $_),
   } } 1 .. 20000] })->{status}, 200, 'users');
edit_conf(sub { s!/nineteen!/moved! });
$state = "$Dir/moved";
slow_disk(1e6, 'moved/snapshot');
kill 'HUP', TestVMess::master_pid();
ok(wait_for(sub { -s "$state/snapshot.1.tmp" }), 'it is written to');
cmp_ok(scalar(my @names = text('snapshot.1.tmp') =~ /u\d{5}/g), '<', 20000, 'it is not whole');
my $s = tcp(http_port());
put($s, "PATCH /api/users/u00001 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        . "Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"quota\":1000}");
is(wait_for(sub { $api->request(GET => 'users/u00001')->{json}{quota} == 1000 }), 1,
   'a change is made');
slow_disk(0);
like(slurp($s), qr{^HTTP/1.1 200 }, 'and saved');
stop_nginx('KILL');
ok(start_nginx(), 'a start');
is($api->call('GET', 'stats')->{json}{users}, 20002, 'all users are there');
is($api->call('GET', 'users/u00001')->{json}{quota}, 1000, 'so is the change');
1;
--- stream_response: 1


=== TEST 20: binary upgrade: an old worker does not confirm what the new master has not read
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('twenty')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/twenty";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
is($api->call('PUT', 'users/carol', { id => '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11' })->{status},
   201, 'a user');

# an old worker has a connection

my $old = TestVMess::master_pid();
my $s = tcp(http_port());
put($s, "GET /api/users/carol HTTP/1.1\r\nHost: localhost\r\n\r\n");
my $answer = '';
wait_for(sub { sysread $s, $answer, 4096, length $answer; $answer =~ /\r\n\r\n.*}/s });

# of all times, the new master has read the files, and who writes does not know

my @all = ($old, children());
kill 'USR2', $old;
is(wait_for(sub { my $pid = TestVMess::master_pid(); $pid && $pid != $old }), 1, 'a new master');
put($s, "PATCH /api/users/carol HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        . "Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"quota\":2000}");
my ($status) = slurp($s) =~ m{^HTTP/1.1 (\d+)};
CORE::close $s;
kill 'QUIT', $old;
is(wait_for(sub { !grep { alive($_) } @all }), 1, 'the old one has gone');
is($status, 503, 'it is not confirmed');
my $carol = $api->call('GET', 'users/carol');
is($carol->{status}, 200, 'the user is there');
is($carol->{json}{quota} // 0, 0, 'the change is not');
is($api->call('PATCH', 'users/carol', { quota => 3000 })->{status}, 200, 'a new worker confirms');
stop_nginx('KILL');
ok(start_nginx(), 'a start');
is($api->call('GET', 'users/carol')->{json}{quota}, 3000, 'what is there then');
1;
--- stream_response: 1


=== TEST 21: a disk that fails
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('twentyone')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/twentyone";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
my %id = (carol => '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11',
          dave => '8c9e6679-7425-40de-944b-e07fc1f90ae7');
is($api->call('PUT', "users/$_", { id => $id{$_} })->{status}, 201, $_) for sort keys %id;
is(join(' ', files()), 'journal.1 snapshot.1', 'files');

fail_disk(1);
is($api->call('PATCH', 'users/carol', { quota => 1000 })->{status}, 503, 'a change is not saved');
is($api->call('DELETE', 'users/dave')->{status}, 503, 'nor is a removal');
is(log_count(qr/alert.*fdatasync\(\) of a journal in .*Input\/output error/), 1, 'an alert');

# attempts leave nothing, and changes do not make them more

is(join(' ', map { $api->request(PATCH => 'users/carol', { quota => $_ })->{status} } 1 .. 20),
   join(' ', (503) x 20), 'others are not saved');
is(wait_for(sub { "@{[files()]}" eq 'journal.1 snapshot.1' }), 1, 'no file is added');
stop_nginx('KILL');
ok(start_nginx(), 'a start');
is(wait_log(qr/alert.*fdatasync\(\) of a snapshot in/), 1, 'an alert of a snapshot');
is($api->call('GET', 'users/carol')->{status}, 200, 'who was saved before is there');

# an attempt of another worker

kill 'KILL', locker();
is(wait_log(qr/alert.*fdatasync\(\) of a snapshot in/, 2), 1, 'another worker tries');
is(wait_for(sub { "@{[files()]}" eq 'journal.1 snapshot.1' }), 1, 'no file is added again');
is(log_count(qr/notice.*is written to again/), 0, 'it is not said to succeed');

fail_disk(0);
is(wait_log(qr/notice.*is written to again/), 1, 'it does not fail any more');
is($api->call('PATCH', 'users/carol', { quota => 2000 })->{status}, 200, 'a change is saved');
is($api->call('DELETE', 'users/dave')->{status} =~ /204|404/, 1, 'and a removal');
stop_nginx('KILL');
ok(start_nginx(), 'a start');
is($api->call('GET', 'users/carol')->{json}{quota}, 2000, 'the change is there');
is($api->call('GET', 'users/dave')->{status}, 404, 'who was removed is not');
1;
--- stream_response: 1


=== TEST 22: a disk with less room than a snapshot needs
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('twentytwo')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/twentytwo";
SKIP: {
    stop_nginx('QUIT');
    remove_tree($state);
    mkdir $state;
    skip 'no mount', 1 if system("mount -t tmpfs -o size=256k none $state 2>/dev/null") != 0;
    $mounted = $state;

    ok(start_nginx(), 'a start');
    my $api = VMess::API->new(connect => sub { tcp(http_port()) });
    is($api->call('PUT', 'users', { users => [map { {
           name => sprintf('u%05d', $_),
           id => sprintf('00000000-0000-4000-8000-%012x', $_),
       } } 1 .. 300] })->{status}, 200, 'users');

    # a part of it has room

    open my $fh, '>', "$state/big" or die $!;
    1 while syswrite $fh, 'x' x 4096;
    truncate $fh, (-s $fh) - 8192 or die $!;
    my $had = join ' ', files();
    kill 'KILL', children();
    is(wait_log(qr/alert.*No space left on device/), 1, 'an alert');
    is(wait_for(sub { "@{[files()]}" eq $had }), 1, 'what has no room is not kept');

    # nor is what somebody has left

    put_file('snapshot.7.tmp', 'x' x 4096);
    truncate $fh, (-s $fh) - 16384 or die $!;
    CORE::close $fh;
    is(wait_log(qr/notice.*is written to again/, 1, 40), 1, 'what is needed is enough');
    is($api->call('PATCH', 'users/u00001', { quota => 1000 })->{status}, 200, 'a change is saved');
    is(scalar(grep { /tmp$/ } files()), 0, 'nothing is left');
    stop_nginx('QUIT');
    system("umount $state") == 0 or die;
    undef $mounted;
    start_nginx();
}
1;
--- stream_response: 1


=== TEST 23: counters while a snapshot is made
--- config
location /api/ { vmess_api main write; client_max_body_size 8m; client_body_buffer_size 8m; }
--- servers
echo echo
--- stream_config eval
main::users('twentythree') =~ s/:1m/:64m/r
--- stream_server_config eval
$main::config
--- stream_client
$state = "$Dir/twentythree";
is(wait_for(sub { snapshot() == 1 }), 1, 'a snapshot');
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
slow_disk(500, 'snapshot');
is($api->call('PUT', 'users', { users => [map { {
       name => sprintf('u%05d', $_), class => 'customers',
       id => sprintf('00000000-0000-4000-8000-%012x', $_),
   } } 1 .. 26000] })->{status}, 200, 'users, more than a journal is to have');
ok(wait_for(sub { -s "$state/snapshot.2.tmp" }), 'another one is begun');
one_flow('alice', 'hello');
is(wait_for(sub { number((records('journal.2')->{alice} // {})->{36}) == 1 }, 20), 1,
   'a flow is written');
my @names = text('snapshot.2.tmp') =~ /u\d{5}/g;
cmp_ok(scalar @names, '<', 26000, 'before it is made');
slow_disk(0);
is(wait_for(sub { snapshot() == 2 }), 1, 'and it is');
1;
--- stream_response: 1


=== TEST 24: a worker that cannot open the lock, while another one has it
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('twentyfour')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/twentyfour";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
my $id = '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11';
is($api->call('PUT', 'users/carol', { id => $id })->{status}, 201, 'a user');
my $writer = writer();
rename "$state/lock", "$state/locked" or die $!;
make_path("$state/lock");
kill 'KILL', grep { $_ != $writer } children();
is(wait_log(qr/alert.*opening the lock in ".*twentyfour" failed/), 1, 'an alert');

# who writes waits for the disk, and so the other one takes the second request

slow_disk(1e6, 'journal');
my $size = -s "$state/journal.1";
my @s;
for my $quota (1000, 2000) {
    push @s, tcp(http_port());
    put($s[-1], "PATCH /api/users/carol HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                . "Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"quota\":$quota}");
    is(wait_for(sub { -s "$state/journal.1" > $size
                      && $api->request(GET => 'users/carol')->{json}{quota} == $quota }), 1,
       'a change is made');
}
slow_disk(0);
like(slurp($_), qr{^HTTP/1.1 200 }, 'and saved') for @s;
is(writer(), $writer, 'by the one that can');
rmdir "$state/lock";
rename "$state/locked", "$state/lock" or die $!;
1;
--- stream_response: 1


=== TEST 25: who writes is told to quit amid a list that another worker applies
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('twentyfive')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/twentyfive";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });

my $s = tcp(http_port());
put($s, list(1, 480, 1));
like(slurp($s), qr{^HTTP/1.1 200 }, 'users');
my $was = 1;

for my $end ('nginx is killed', 'the list is applied') {

    # who writes waits for the disk, and so the list is not his

    my $writer = writer();
    my $journal = (sort { $a <=> $b } map { /^journal\.(\d+)$/ } files())[-1];
    wait_for(sub { snapshot() == $journal });
    my $size = -s "$state/journal.$journal";
    slow_disk(1e6, 'journal');
    one_flow('alice', 'hello');
    is(wait_for(sub { -s "$state/journal.$journal" > $size }), 1,
       "$end: a counter is written");
    my ($other) = grep { $_ != $writer } children();
    slow_turns(200);
    $s = tcp(http_port());
    put($s, list(1, 480, $was + 1));
    is(wait_for(sub { $api->request(GET => 'users/u00001')->{json}{quota} == $was + 1 }, 30), 1,
       "$end: a list is begun");
    TestVMess::halt('STOP', $other);
    slow_turns(0);
    slow_disk(0);
    kill 'QUIT', $writer;
    is(wait_for(sub { !alive($writer) }), 1, "$end: who wrote has gone");

    if ($end =~ /killed/) {
        stop_nginx('KILL');
        CORE::close $s;

    } else {
        kill 'CONT', $other;
        like(slurp($s), qr{^HTTP/1.1 200 }, "$end: it is saved");
        stop_nginx('KILL');
        $was++;
    }

    ok(start_nginx(), "$end: a start");
    is(quotas($api, 0), $was, "$end: the list is there as a whole, or not at all");
}
1;
--- stream_response: 1


=== TEST 26: a list that begins when the time for another one has passed
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('twentysix') =~ s/:1m/:16m/r
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/twentysix";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
my $s = tcp(http_port());
put($s, list(1, 3000, 1));
like(slurp($s), qr{^HTTP/1.1 200 }, 'users');

# who writes waits for the disk after the first part of a round

my ($writer, $size) = (writer(), -s "$state/journal.1");
slow_disk(1e6, 'journal');
my $first = tcp(http_port());
put($first, list(1, 3000, 2));
is(wait_for(sub { -s "$state/journal.1" > $size }), 1, 'a list is written');
cmp_ok(-s "$state/journal.1", '<', $size + 65537, 'in parts');
my ($other) = grep { $_ != $writer } children();
slow_turns(200);
$s = tcp(http_port());
put($s, list(2521, 3000, 3));
is(wait_for(sub { $api->request(GET => 'users/u02521')->{json}{quota} == 3 }, 30), 1,
   'another one is begun');
TestVMess::halt('STOP', $other);
slow_turns(0);
set_clock(monotonic => ahead(6));
slow_disk(0);

# it has looked what is to be done

for (1, 2) {
    my $looked = (Time::HiRes::stat("$state/lock"))[9];
    wait_for(sub { (Time::HiRes::stat("$state/lock"))[9] > $looked });
}
stop_nginx('KILL');
ok(start_nginx(), 'a start');
my $quotas = quotas($api, 2520);
like($quotas, qr/^[12]$/, 'the list is there as a whole, or not at all');
1;
--- stream_response: 1


=== TEST 27: an old worker dies amid a list, and its pid is somebody else's
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('twentyseven')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/twentyseven";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
my $s = tcp(http_port());
put($s, list(1, 480, 1));
like(slurp($s), qr{^HTTP/1.1 200 }, 'users');

# who writes waits for the disk, and so the other worker has a flow and the list

my ($writer, $size) = (writer(), -s "$state/journal.1");
slow_disk(1e6, 'journal');
one_flow('bob', 'hello');
is(wait_for(sub { -s "$state/journal.1" > $size }), 1, 'a counter is written');
my ($other) = grep { $_ != $writer } children();
my $flow = flow(to => 'echo', data => 'hello', skew => 2);
is($flow->read(5), 'hello', 'a flow');
slow_turns(200);
$s = tcp(http_port());
put($s, list(1, 480, 2));
is(wait_for(sub { $api->request(GET => 'users/u00001')->{json}{quota} == 2 }, 30), 1,
   'a list is begun');
TestVMess::halt('STOP', $other);
slow_turns(0);
slow_disk(0);

# nobody comes in the place of an old one

reload();
is($api->call('GET', 'users/alice')->{json}{flows}, 1, 'the flow is counted');
reuse_pids(1);
TestVMess::halt('KILL', $other);
is(wait_for(sub { $api->request(GET => 'users/alice')->{json}{flows} == 0 }), 1,
   'it is known to have gone');
is($api->call('PUT', 'users/carol', { id => '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11' })->{status},
   201, 'a change is made, and saved');
reuse_pids(0);
$flow->close;
CORE::close $s;
1;
--- stream_response: 1


=== TEST 28: a process that nobody knows has the lock of users, then one that does not release it
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('twentyeight')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/twentyeight";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
my $id = '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11';
is($api->call('PUT', 'users/carol', { id => $id })->{status}, 201, 'a user');

# the memory with names of users has the lock first

my ($worker) = children();
SKIP: {
    for my $pid ($$, $worker) {
        open my $mem, '+<:raw', "/proc/$worker/mem" or skip "memory of nginx: $!", 1;
        my $found = 0;
        for (TestVMess::file_text("/proc/$worker/maps") =~ /^(\w+-\w+) rw-s .*zero/mg) {
            my ($from, $to) = map { hex } split /-/;
            sysseek $mem, $from, 0 or die $!;
            sysread $mem, my $text, $to - $from or die $!;
            next if $text !~ /carol/;
            sysseek $mem, $from, 0 or die $!;
            syswrite $mem, pack 'Q', $pid or die $!;
            $found++;
        }
        CORE::close $mem;
        is($found, 1, 'the lock');
        my $s = tcp(http_port());
        my $body = "{\"quota\":1000$pid}";
        put($s, "PATCH /api/users/carol HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                . "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
        ok(IO::Select->new($s)->can_read(60), 'it is not waited for without an end');
        like(slurp($s), qr{^HTTP/1.1 200 }, 'a change is made');

        # a stranger never had it
        is(log_count(qr/alert.*vmess_users "main": the lock was not released by process $pid, and is taken/),
           $pid != $$ ? 1 : 0, 'an alert');
    }
}
1;
--- stream_response: 1


=== TEST 29: the directory is removed while nginx runs
--- config
location /api/ { vmess_api main write; }
--- servers
echo echo
--- stream_config eval
main::users('twentynine')
--- stream_server_config eval
$main::config
--- may_alert
--- stream_client
$state = "$Dir/twentynine";
my $api = VMess::API->new(connect => sub { tcp(http_port()) });
my %id = (carol => '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11',
          dave => '8c9e6679-7425-40de-944b-e07fc1f90ae7');
is($api->call('PUT', 'users/carol', { id => $id{carol} })->{status}, 201, 'a change is saved');
my @owner = (stat $state)[4, 5];
remove_tree($state);
is($api->call('PUT', 'users/dave', { id => $id{dave} })->{status}, 503, 'the next one is not');
is(wait_log(qr/alert.*finding a journal in ".*twentynine" failed, .*No such file/), 1, 'an alert');
is(one_flow('alice', 'hello'), 'hello', 'serving goes on');

mkdir $state, 0700 or die "mkdir: $!";
chown @owner, $state;
is(wait_log(qr/notice.*is written to again/), 1, 'there it is again');
is($api->call('PATCH', 'users/dave', { quota => 1000 })->{status}, 200, 'a change is saved');
stop_nginx('KILL');
ok(start_nginx(), 'a start');
is($api->call('GET', "users/$_")->{status}, 200, "$_ is there") for sort keys %id;
1;
--- stream_response: 1

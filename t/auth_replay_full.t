# A replay filter that is full refuses: it never forgets early.  Who fills it keeps
# nobody else out, and a larger one is of use at once.

use lib "t/lib";
use Socket;
use TestVMess;

plan "no_plan";
no_shuffle();
run_tests();


my $count = 0;

# n ids of a user that no other header has

sub ids {
    my ($user, $n, $skew) = @_;
    my $key = VMess::kdf16(VMess::cmd_key(VMess::uuid($TestVMess::User{$user})),
                           'AES Auth ID Encryption');
    my $aes = Crypt::Cipher::AES->new($key);

    return map {
        my $id = pack 'q> N', time + ($skew // 0), ++$count;
        $aes->encrypt($id . pack 'N', unpack 'N',
                      Crypt::Checksum::CRC32::crc32_data($id));
    } 1 .. $n;
}


# a connection for each id, that sends it and more bytes, and leaves; there are
# tens of thousands of them

sub leave {
    my ($more, @ids) = @_;
    my $to = sockaddr_in(stream_port(), INADDR_LOOPBACK);

    for my $id (@ids) {
        socket(my $s, PF_INET, SOCK_STREAM, 0) or die "socket: $!\n";
        connect($s, $to) or die "connect: $!\n";
        syswrite($s, $id . 'x' x $more);
        close $s;
    }
}


# the same, until the filter is full; how many they were

sub fill {
    my ($user, $entries) = @_;
    my $n = 0;

    while ($n < 2 * $entries && !log_count(qr/is full/)) {
        # what follows the id is wrong: its tag uses it up
        leave(26, ids($user, 500));
        $n += 500;
    }

    return $n;
}

sub entries { return (error_log() =~ /replay filter of (\d+) entries/g)[-1] }

__DATA__

=== TEST 1: a full filter
--- servers
echo echo
web http It works
--- stream_config
log_format status $vmess_status;
server {
    listen 127.0.0.1:%%PORT_1%%;
    vmess main;
    vmess_fallback site;
    proxy_pass vmess_target;
}
server {
    vmess_listen site;
    proxy_pass 127.0.0.1:%%web%%;
    access_log %%DIR%%/status.log status;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $first = vmess(to => 'echo');
is($first->connect(tcp(), data => 'hello')->read(5), 'hello', 'the first');
is(log_count(qr/is full/), 0, 'no alert yet');

my $entries = entries();
cmp_ok($entries, '>', 1000, "a filter of $entries entries");

# of ids that are ahead, a part is taken: a tenth
leave(26, ids('alice', 5000, 3000));
wait_log(qr/with bad time/);
is(flow(user => 'bob', to => 'echo', data => 'hello')->read(5), 'hello',
   'another user, after ids that are ahead');
is(log_count(qr/is full/), 0, 'nor an alert');

my $n = fill('alice', $entries);

is(wait_log(qr/\[alert\].*vmess_users "main": replay filter is full, user "alice" has \d+ of its $entries entries/),
   1, 'an alert names who fills it');
cmp_ok($n, '>', $entries * (5 / 6 - 1 / 10) - 10, 'not early');

my $request = "GET / HTTP/1.1\r\n\r\n";
my $s = tcp(stream_port() + 1);
put($s, vmess(to => 'echo')->header . $request);
like(slurp($s), qr/It works/, 'a fresh header is refused, as all others are');
wait_log(qr/client sent VMess header of user "alice", for which the replay filter has no room/);

$s = tcp(stream_port() + 1);
put($s, $first->header . $request);
like(slurp($s), qr/It works/, 'the first is still known');

my $f = flow(user => 'bob', to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'another user has room');
$f->close;

wait_for(sub { access_log('status.log') =~ /\n.*\n/ });
is(access_log('status.log'), "full\nreplay\n", 'each has its status');
cmp_ok(log_count(qr/is full/), '<', 100, 'the log is not flooded');
1;
--- stream_response: 1
--- may_alert


=== TEST 2: a larger size is of use at once
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $first = vmess(to => 'echo');
is($first->connect(tcp(), data => 'hello')->read(5), 'hello', 'the first');
$first->close;
my $entries = entries();

# half sent to a worker that will be an old one
my $both = vmess(to => 'echo');
my $old = tcp();
put($old, substr($both->header, 0, 20));
wait_log(qr/ connected to /) or die 'not connected';

# connections that send an id and no more leave nothing
leave(0, ids('alice', 3000));

cmp_ok(fill('alice', $entries), '>', $entries * 5 / 6 - 10, 'all else is for ids');

is(flow(to => 'echo', data => 'x' x 5000)->read_eof, '', 'refused');

edit_conf(sub { s/vmess_users main:1m/vmess_users main:4m/ });
reload();
cmp_ok(entries(), '>', 3 * $entries, 'a larger filter');

is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'a fresh header');

my $s = tcp();
put($s, $first->header . 'x' x 5000);
is(slurp($s), '', 'the first is still known');

$both->connect(tcp(), data => 'hello');
is($both->read(5), 'hello', 'an id that the old filter had no room for');
put($old, substr($both->header, 20) . 'x' x 5000);
is(slurp($old), '', 'is not good at an old worker');
$both->close;
wait_for(sub { workers_alive() == 1 });
--- stream_response: 1
--- may_alert

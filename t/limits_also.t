# A second id of a user, for a time.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();
workers(2);

run_tests();

__DATA__

=== TEST 1: two ids are one user
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%% max_conns=2 also=%%BOB%%; }
log_format l '$vmess_status $vmess_user';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my @flows = map { flow(user => $_, to => 'echo', data => 'a') } qw(alice bob);
is($_->read(1), 'a', 'a flow') for @flows;
is(flow(user => 'bob', to => 'echo', data => 'x' x 5000)->read_eof, '', 'a third one is refused');
$_->close for @flows;
my @l;
wait_for(sub { (@l = split /\n/, access_log()) == 3 });
is(join(', ', sort @l), 'max_conns -, ok alice, ok alice', 'they count together');
--- stream_response: 1


=== TEST 2: the second id ends, and its flows
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $until = int(Time::HiRes::time()) + 6 * ($Scale > 2 ? 2 : 1);
edit_conf(sub { s/alice \S+\K;/ also=$User{bob} until=$until;/ });
reload();
my @flows = map { flow(user => $_, to => 'echo', data => 'a') } qw(alice bob bob bob);
is($_->read(1), 'a', 'a flow') for @flows;
my $alice = shift @flows;
for (@flows) {
    $_->read_eof;
    is($_->{eof}, 1, 'it ends');
}
cmp_ok(Time::HiRes::time(), '>=', $until, 'when its id does');
is(flow(user => 'bob', to => 'echo', data => 'x' x 5000)->read_eof, '', 'the id is refused');
$alice->send('b');
is($alice->read(1), 'b', 'the flow of the first one goes on');
$alice->close;
is(flow(to => 'echo', data => 'a')->read(1), 'a', 'and it is good');
--- stream_response: 1


=== TEST 3: a rotation: the second id becomes the first, flows stay
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%% also=%%BOB%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @flows = map { flow(user => $_, to => 'echo', data => 'a') } qw(alice bob);
is($_->read(1), 'a', 'a flow') for @flows;
edit_conf(sub { s/alice (\S+) also=(\S+);/alice $2 also=$1;/ });
reload();
for (@flows) {
    $_->send('b');
    is($_->read(1), 'b', 'it goes on');
}
edit_conf(sub { s/alice (\S+) also=(\S+);/alice $1;/ });
reload();
is($flows[0]->read_eof, '', 'that of an id that is gone ends');
$flows[1]->send('c');
is($flows[1]->read(1), 'c', 'the other one goes on');
--- stream_response: 1

# examples/vmessctl: each command, both kinds of URL, exit codes, errors.

use lib "t/lib";
use TestVMess;

use IPC::Open3 qw(open3);
use JSON::PP;
use MIME::Base64 qw(decode_base64);
use VMess::API;
use VMess::KCP;

plan "no_plan";
no_shuffle();
workers(2);

our $uuid = qr/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

our $users = <<'END';
vmess_users main:1m {
    alice b831381d-6324-4d53-ad4f-8cda48b30811 class=staff;
}
END

our $http = <<'END';
server {
    listen unix:%%DIR%%/api.sock;
    location /api/ { vmess_api main write; }
    location /read/ { vmess_api main; }
}
END

our $config = <<'END';
location /api/ { vmess_api main write; }
location /closed/ {
    vmess_api main write;
    auth_basic closed;
    auth_basic_user_file %%DIR%%/passwords;
}
location = /alive { return 200; }
END

# exit code, output and errors; what stands in the input

sub run_ctl {
    my ($in, @args) = @_;

    my @command = ($^X, 'examples/vmessctl', @args);
    open my $fh, '+>', undef or die "open: $!";
    print $fh $in;
    seek $fh, 0, 0;

    open my $err, '+>', undef or die "open: $!";
    my $pid = open3('<&' . fileno $fh, my $out, '>&' . fileno $err, @command);
    my $text = do { local $/; <$out> } // '';
    waitpid $pid, 0;
    my $rc = $? >> 8 || $? & 127;

    seek $err, 0, 0;
    return ($rc, $text, do { local $/; <$err> } // '');
}

# by the socket; the output of what must work

sub ctl {
    my ($rc, $out, $err) = run_ctl('', @_);
    is($rc, 0, "@_") or diag $err;
    is($err, '', 'without errors');
    return $out;
}

sub ctl_fails {
    my ($rc, $text, @args) = @_;
    my ($got, $out, $err) = run_ctl('', @args);
    is($got, $rc, "@args: code $rc");
    is($out, '', 'no output');
    like($err, qr/^vmessctl: $text\n\z/, 'what it says');
}

sub fields {
    return { map { split /\t/, $_, 2 } split /\n/, $_[0] };
}

run_tests();

__DATA__

=== TEST 1: users come, change and go
--- servers
echo echo
--- http_config eval: $::http
--- config eval: $::config
--- stream_config eval: $::users
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
local $ENV{VMESSCTL_URL} = "unix:$Dir/api.sock:/api/";
my $id = 'ad9f3f5b-3e55-4d6e-8d9a-5f2b5b1a3b44';
is(ctl('add', 'bob', "id=$id", 'quota=100g', 'disabled=1', 'tags=1,5'),
   "bob\t$id\n", 'the id given');
my ($new) = ctl('add', 'carol') =~ /^carol\t($uuid)\n$/;
ok($new, 'one that was made');
is(flow(uuid => $new, to => 'echo', data => 'hello')->read(5), 'hello', 'and works');
my $bob = fields(ctl('show', 'bob'));
is($bob->{$_->[0]}, $_->[1], "bob's $_->[0]")
    for [id => $id], [quota => 100 << 30], [disabled => 1], [tags => '1,5'],
        [origin => 'api'], [status => 'disabled'];
is(ctl('set', 'bob', 'disabled=', 'expires=2001-01-01', 'tags='), '', 'silent');
$bob = fields(ctl('show', 'bob'));
is($bob->{$_->[0]}, $_->[1], "bob's $_->[0]")
    for [quota => 100 << 30], [disabled => ''], [tags => ''], [status => 'expired'],
        [expires => '2001-01-01T00:00:00Z'];
my $json = decode_json(ctl('show', '--json', 'bob'));
is($json->{id}, $id, 'as JSON');
is(ctl(qw(list --fields name,origin --sort name)),
   "alice\tconf\nbob\tapi\ncarol\tapi\n", 'the list');
is(ctl(qw(list --header --status expired --fields), 'name,expires'),
   "name\texpires\nbob\t2001-01-01T00:00:00Z\n", 'of one status, with names of fields');
is(ctl(qw(list --origin api --name ar --fields name)), "carol\n", 'of an origin and a name');
is(ctl(qw(list --name nobody)), '', 'of nobody');
like(ctl(qw(list --table --sort name)),
     qr/\Aname[ ]+status[ ]+used[ ]+quota[ ]+flows[ ]+ends[ ]+last_seen\n
        alice[ ]+active[ ]+0[ ]+-[ ]+0[ ]+-[ ]+-\n
        bob[ ]+expired[ ]+0[ ]+100g[ ]+0[ ]+2001-01-01T00:00:00Z[ ]+-\n
        carol[ ]+active[ ]+10[ ]+-[ ]+0[ ]+-[ ]+\d{4}-\S+Z\n\z/x, 'for people');
is(join('', map { decode_json($_)->{name} . ' ' } split /\n/, ctl(qw(list --json --sort -name))),
   'carol bob alice ', 'lines of JSON');
my $old = fields(ctl(qw(show carol)))->{token};
my ($new) = ctl(qw(token carol)) =~ /\A([\w-]{22})\n\z/;
isnt($new, $old, 'a new token');
is(fields(ctl(qw(show carol)))->{token}, $new, 'is that of the user');
is((run_ctl('', qw(token alice)))[0], 2, 'not of one in the file');
is(ctl(qw(del bob carol)), '', 'they go');
is(ctl(qw(list --fields name)), "alice\n", 'and have gone');


=== TEST 2: flows end, counters begin at zero
--- servers
echo echo
--- http_config eval: $::http
--- config eval: $::config
--- stream_config eval: $::users
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
local $ENV{VMESSCTL_URL} = "unix:$Dir/api.sock:/api/";
my $flow = flow(to => 'echo', data => 'hello');
is($flow->read(5), 'hello', 'a flow');
is(fields(ctl(qw(show alice)))->{flows}, 1, 'is seen');
ctl(qw(kick alice));
is($flow->read_eof, '', 'and ended');
ok(wait_for(sub { !fields(ctl(qw(show alice)))->{flows} }), 'none is left');
is(fields(ctl(qw(show alice)))->{used}, 10, 'what it took');
ctl(qw(reset alice));
is(fields(ctl(qw(show alice)))->{used}, 0, 'is forgotten');


=== TEST 3: many users
--- http_config eval: $::http
--- config eval: $::config
--- stream_config eval: $::users =~ s/main:1m/main:16m/r
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
local $ENV{VMESSCTL_URL} = "unix:$Dir/api.sock:/api/";
# more than there are on a page, and more than a connection takes
my @names = map { sprintf 'user%04d', $_ } 1 .. 2100;
my ($rc, $out, $err) = run_ctl(join('', map { "$_\n" } @names) . "\n last class=b \n",
                                 qw(add - quota=1g));
is($rc, 0, 'by lines of the input') or diag $err;
my %id = map { split /\t/ } split /\n/, $out;
is(join(' ', sort keys %id), join(' ', sort @names, 'last'), 'all are told');
my %seen = map { $_ => 1 } values %id;
is(keys %seen, 2101, 'each with an id of its own');
is(join(' ', sort split /\n/, ctl(qw(list --fields name --origin api))),
   join(' ', sort @names, 'last'), 'and there');
is(ctl(qw(list --fields name --sort name --limit 1002 --origin api)),
   join('', map { "$_\n" } 'last', @names[0 .. 1000]), 'in order, so many');
is(fields(ctl(qw(show last)))->{class}, 'b', 'with parameters of the line');
is(fields(ctl(qw(show last)))->{quota}, 1 << 30, 'and those for all');
is((grep { / 1\.0g / } split /\n/, ctl(qw(list --table))) + 0, 2101, 'sizes');
($rc, $out, $err) = run_ctl("one\ntwo bad=1\nthree\n", 'add', '-');
is($rc, 2, 'a bad line');
like($out, qr/\Aone\t$uuid\n\z/, 'comes after good ones');
like($err, qr/^vmessctl: line 2: two: there is no "bad", parameters are .*\n\z/, 'and is told');
($rc, $out, $err) = run_ctl("\n\xff\n", 'add', '-');
is("$rc $out$err", "1 vmessctl: line 2: it is not in UTF-8, see vmessctl --help\n", 'no text');


=== TEST 4: what is refused, and what fails
--- servers
dead dead
strange http surprise
short banner HTTP/1.1 200
silent silent
--- http_config eval: $::http
--- config eval: $::config
--- stream_config eval: $::users
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
delete local $ENV{VMESSCTL_URL};
my @api = ('--url', "unix:$Dir/api.sock:/api/");
my $see = ', see vmessctl --help';
ctl_fails(1, "no API is given, use --url or VMESSCTL_URL$see", 'list');
ctl_fails(1, "there is no command \"lists\", .*$see", @api, 'lists');
ctl_fails(1, "a command is missing$see", @api);
ctl_fails(1, "\"list\" has no option \"host\"$see", @api, qw(list --host x));
ctl_fails(1, "\"list\" does not take \"x\"$see", @api, qw(list x));
ctl_fails(1, "unknown option: bogus$see", @api, '--bogus');
ctl_fails(1, "the URL \"$_\" must be .*$see", '--url', $_, 'list')
    for 'https://x/', 'x';
ctl_fails(1, "the path in the URL .*$see", '--url', 'http://x/?a', 'list');
ctl_fails(1, "\"set\" needs a name and parameters$see", @api, qw(set alice));
ctl_fails(1, "\"show\" needs a name$see", @api, 'show');
ctl_fails(1, "x: \"y\" is not PARAMETER=VALUE$see", @api, qw(set x y));
ctl_fails(1, "x: \"quota\" is not PARAMETER=VALUE, as quota=100g$see", @api, qw(add x quota 100g));
ctl_fails(1, "x: \"quota\" is not PARAMETER=VALUE, as quota=VALUE$see", @api, qw(add x quota rate=1m));
ctl_fails(1, "x: \"disabled\" is not PARAMETER=VALUE, as disabled=1$see", @api, qw(add x disabled));
ctl_fails(1, "unknown option: quota, parameters have no dashes$see", @api, qw(add x --quota=100g));
ctl_fails(1, "x: \"--quota=1g\" is not PARAMETER=VALUE, parameters have no dashes$see", @api, qw(add -- x --quota=1g));
ctl_fails(1, "x: \"status\" is read-only, use disabled=1$see", @api, qw(set x status=disabled));
ctl_fails(1, "x: \"$_\" is read-only, use \"vmessctl reset\"$see", @api, 'set', 'x', "$_=0") for qw(used up down);
ctl_fails(1, "x: \"origin\" is read-only, leave it out$see", @api, qw(add x origin=conf));
ctl_fails(1, "x: \"a\" is there twice$see", @api, qw(set x a=1 a=2));
ctl_fails(1, "x: \"disabled\" must be 1 or 0$see", @api, qw(set x disabled=maybe));
ctl_fails(1, "x: \"tags\" must be .*$see", @api, qw(set x tags=1,a));
ctl_fails(1, "arguments must be in UTF-8$see", @api, 'show', "\xff");
ctl_fails(1, "\Q$_\E: a user \"\Q$_\E\" cannot be named in a path$see", @api, 'del', $_)
    for 'x/../alice', '..', 'x//y', '.', 'x/flows', 'x/kick';
ctl_fails(1, "\"limit\" must be .*$see", @api, qw(list --limit 0));
ctl_fails(1, "\"link\" with options needs --host.*$see", @api, qw(link alice --net ws));
ctl_fails(1, "--net must be .*$see", @api, qw(link alice --host x --net y));
ctl_fails(1, "--port must be .*$see", @api, qw(link alice --host x --port 0));
ctl_fails(1, "\"d\" must be .*$see", @api, qw(top -d 0));
ctl_fails(1, "\"rows\" and \"n\" must be .*$see", @api, qw(top -n 0));
ctl_fails(2, 'alice: user "alice" is there already, .*', @api, qw(add alice));
ctl_fails(2, 'alice: user "alice" is defined in \S+:\d+, change it there', @api, 'set', 'alice', 'quota=1g');
ctl_fails(2, 'x: expires: must be .*, or "off", or nothing \\(expires=\\)', @api, qw(add x expires=soon));
ctl_fails(2, 'x: id: an id of user "x" is that of user "alice".*', @api, 'add', 'x', "id=$User{alice}");
ctl_fails(2, 'fields: must be names .*', @api, qw(list --fields colour));
ctl_fails(2, 'x: this location has no "write" in "vmess_api"', '--url', "unix:$Dir/api.sock:/read/", qw(add x));
ctl_fails(2, 'alice: the location does not show ids.*', '--url', "unix:$Dir/api.sock:/read/", qw(link alice --host x));
ctl_fails(2, 'alice: there is no "vmess_share" in the configuration, use --host', @api, qw(link alice));
ctl_fails(2, 'alice: this location has no "write" in "vmess_api"', '--url', "unix:$Dir/api.sock:/read/", qw(link alice));
ctl_fails(2, 'the server answered "404 Not Found", is there "vmess_api"\?', '--url', "unix:$Dir/api.sock:/", 'list');
ctl_fails(2, 'there is no "/api/x/users": "vmess_api" is in the location "/api/", below which .*',
          '--url', "unix:$Dir/api.sock:/api/x/", 'list');
ctl_fails(4, 'nobody: there is no user "nobody" in vmess_users "main"', @api, @$_)
    for [qw(show nobody)], [qw(set nobody quota=1g)], [qw(del nobody)], [qw(kick nobody)],
        [qw(reset nobody)], [qw(flows nobody)], [qw(link nobody --host x)], [qw(link nobody)];
ctl_fails(3, "no connection to $Dir/nothing: No such file or directory", '--url', "unix:$Dir/nothing:/api/", 'list');
ctl_fails(3, 'no connection to 127.0.0.1:' . port('dead') . ': Connection refused',
            '--url', 'http://127.0.0.1:' . port('dead') . '/api/', 'list');
ctl_fails(3, 'the answer is no JSON object, is there "vmess_api"\?',
            '--url', 'http://127.0.0.1:' . port('strange') . '/api/', 'list');
ctl_fails(3, 'the answer ends early', '--url', 'http://127.0.0.1:' . port('short') . '/api/', 'list');
ctl_fails(3, 'no answer in 0.2 seconds', '--timeout', 0.2, '--url', 'http://127.0.0.1:' . port('silent') . '/api/', 'list');
ctl(@api, 'add', 'bob');
my ($rc, $out, $err) = run_ctl('', @api, qw(del nobody bob));
is("$rc $err", "4 vmessctl: nobody: there is no user \"nobody\" in vmess_users \"main\"\n", 'one of two');
is(ctl(@api, qw(list --fields name)), "alice\n", 'the other one has gone');
my @more = map { "more$_\n" } 1 .. 5000;
($rc, $out, $err) = run_ctl(join('', @more), @api, qw(add -));
is($rc, 2, 'the zone is full');
like($err, qr/^vmessctl: line \d+: more\d+: no room for user "more\d+" in vmess_users "main", give it a larger size\n\z/, 'and what to do');
like(ctl('--help'), qr/^Usage: vmessctl .*^Exit code: /ms, 'help');


=== TEST 5: by TCP, with a password; names
--- http_config eval: $::http
--- config eval: $::config
--- stream_config eval: $::users
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $at = '127.0.0.1:' . http_port();
for (['passwords', 'me:{PLAIN}se%cret'], ['mine', 'me:se%cret']) {
    open my $fh, '>', "$Dir/$_->[0]" or die "open: $!";
    print $fh "$_->[1]\n";
}
my @list = qw(list --fields name);
is(ctl('--url', "http://$at/api", @list), "alice\n", 'without a password');
ctl_fails(2, 'the server answered "401 Unauthorized", give user and password by --user-file', '--url', "http://$at/closed/", @list);
is(ctl('--url', "http://me:se%25cret\@$at/closed/", @list), "alice\n", 'in the URL');
is(ctl('--url', "http://$at/closed/", '--user-file', "$Dir/mine", @list), "alice\n", 'in a file');
ctl_fails(1, '\S+/nothing: No such file or directory.*', '--url', "http://$at/closed/", '--user-file', "$Dir/nothing", @list);
my @api = ('--url', "http://unix:$Dir/api.sock:/api/");
for my $name ("\xd0\xb0\xd0\xbb\xd0\xb8\xd1\x81\xd0\xb0", 'a/b?c#d%41+&', '-x=y') {
    ctl(@api, 'add', '--', $name);
    is(fields(ctl(@api, 'show', '--', $name))->{name}, $name, $name);
    ctl(@api, 'set', '--', $name, 'class=b');
    is(ctl(@api, @list, '--name', $name), "$name\n", 'is listed');
    ctl(@api, 'del', '--', $name);
}
is(ctl(@api, @list), "alice\n", 'all have gone');


=== TEST 6: share links
--- http_config eval: $::http
--- config eval: $::config
--- stream_config eval: $::users
--- stream_server_config
vmess main;
proxy_pass vmess_target;
vmess_share a.example:443 tls=on;
vmess_share b.example:80;
--- stream_client
my @api = ('--url', "unix:$Dir/api.sock:/api/", 'link', '--host', 'vpn.example.com');
my $link = sub {
    my ($text) = ctl(@api, @_) =~ m{\Avmess://(\S+)\n\z};
    return decode_json(decode_base64($text));
};
is_deeply($link->('alice'),
          { v => '2', ps => 'alice', add => 'vpn.example.com', port => '443', id => $User{alice},
            aid => '0', scy => 'auto', net => 'tcp', type => 'none', host => '', path => '',
            tls => 'tls', sni => 'vpn.example.com' }, 'over TLS');
my $l = $link->(qw(alice --net ws --path /ray --http-host cdn.example.com --port 8443 --sni s.example.com
                   --alpn http/1.1 --fp chrome --title), "\xd0\x90");
is(join(' ', @$l{qw(net type host path port sni alpn fp)}),
   'ws none cdn.example.com /ray 8443 s.example.com http/1.1 chrome', 'WebSocket');
is($l->{ps}, "\x{410}", 'a title');
$l = $link->(qw(alice --net grpc --path ray --type multi --no-tls));
is(join(' ', @$l{qw(net type path tls sni)}), 'grpc multi ray  ', 'gRPC without TLS');
is($link->(qw(alice --net xhttp))->{type}, 'auto', 'XHTTP');
is($link->(qw(alice --net kcp --path seed))->{tls}, '', 'mKCP');
is((() = ctl(@api, 'alice', 'alice') =~ /^vmess:/mg) + 0, 2, 'two links');

my @told = map { decode_json(decode_base64($_)) }
           ctl(@api[0, 1], 'link', 'alice', 'alice') =~ m{^vmess://(\S+)$}mg;
is(join(', ', map { my $l = $_; join ' ', @$l{qw(ps add port tls)} } @told),
   join(', ', ('a.example tcp a.example 443 tls', 'b.example tcp b.example 80 ') x 2), 'of the configuration');
is($told[2]{id}, $User{alice}, 'of each user');


=== TEST 7: who transfers how much
--- servers
echo echo
--- http_config eval: $::http
--- config eval: $::config
--- stream_config eval: $::users
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
local $ENV{VMESSCTL_URL} = "unix:$Dir/api.sock:/api/";
my ($new) = ctl('add', 'bob') =~ /($uuid)/;
is(ctl(qw(top -n 1 -d 0.1 --header)), "name\tup/s\tdown/s\tflows\tup\tdown\n", 'nobody');
my $flow = flow(to => 'echo', data => 'x' x 1000);
$flow->read(1000);
is(ctl(qw(top -n 1 -d 0.1)), "alice\t0\t0\t1\t1000\t1000\n", 'who does nothing');
# a flow that comes between reads, ends, and one that goes on
my $reader = open my $top, '-|', $^X, 'examples/vmessctl', qw(top -n 100000 -d 0.1 --rows 1) or die "open: $!";
is(scalar(<$top>), "alice\t0\t0\t1\t1000\t1000\n", 'a table');
my $f = flow(uuid => $new, to => 'echo', data => 'y' x 500);
$f->read(500);
$f->close;
my @most = (0) x 6;
while (defined(my $line = <$top>)) {
    my ($name, @n) = split /\t|\n/, $line;
    next if $name ne 'bob';
    $most[$_] = $n[$_] > $most[$_] ? $n[$_] : $most[$_] for 0 .. $#n;
    last if "@n[3, 4]" eq '500 500';
}
is("@most[3, 4]", '500 500', 'who moved most is the first');
cmp_ok($most[$_], '>', 0, 'with a rate') for 0, 1;
while (defined(my $line = <$top>)) {
    last if $line eq "alice\t0\t0\t1\t1000\t1000\n";
}
pass('and later he is not there');
kill 'TERM', $reader;
CORE::close $top;
like(ctl(qw(top -n 1 -d 0.1 --table)),
     qr/\Aname   up\/s  down\/s  flows  up    down\nalice  0     0       1      1000  1000\n\z/, 'for people');


=== TEST 8: flows that are open
--- servers
echo echo
--- http_config eval: $::http
--- config eval: $::config
--- stream_config eval: $::users
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
local $ENV{VMESSCTL_URL} = "unix:$Dir/api.sock:/api/";
is(ctl('flows'), '', 'none');
my @flows = map { flow(to => 'echo', data => 'hello') } 1, 2;
is($_->read(5), 'hello', 'a flow') for @flows;
my $line = qr/alice\ttcp\ttcp\t127\.0\.0\.1\t127\.0\.0\.1:@{[ port('echo') ]}\t5\t5\t\d{4}-\S+Z\n/;
like(ctl(qw(flows)), qr/\A$line$line\z/, 'both are listed');
like(ctl(qw(flows alice --limit 1)), qr/\A$line\z/, 'or one of them');
like(ctl(qw(flows alice --table)), qr/\Auser   network  carrier  client .*\n(?:alice  tcp .*\n){2}\z/, 'for people');
is(decode_json((split /\n/, ctl(qw(flows --json)))[1])->{network}, 'tcp', 'as JSON');
my $missing = "vmessctl: some flows are missing, a worker gave no answer\n";
my ($pid) = children();
halt('STOP', $pid);
my ($rc, $out, $err);
ok(wait_for(sub { ($rc, $out, $err) = run_ctl('', 'flows'); $err eq $missing }), 'a worker is silent');
is($rc, 3, 'which is a failure');
like($out, qr/\A(?:$line)*\z/, 'flows of others are listed');
kill 'CONT', $pid;
ok(wait_for(sub { ($rc) = run_ctl('', 'flows'); !$rc }), 'it goes on');
--- stream_response: 1


=== TEST 9: a doctor
--- servers
echo echo
--- http_config eval: $::http
--- config: location /status/ { vmess_status main; } location /api/ { vmess_api main write; }
--- stream_config eval: "resolver 127.0.0.1 ipv6=off;\n$::users server { listen 127.0.0.1:%%PORT_2%% udp reuseport; vmess main; vmess_kcp; proxy_pass vmess_target; }"
--- stream_server_config
vmess main;
proxy_buffer_size 64k;
proxy_pass vmess_target;
--- stream_client
my @url = ('-u', 'http://127.0.0.1:' . http_port() . '/status/');
my $nginx = ($ENV{TEST_NGINX_BINARY} || 'nginx') . " -p $Dir/.. -c $Test::Nginx::Util::ConfFile -e stderr";

# of no workers, as this system may have limits of its own

mkdir "$Dir/none";
my @proc = ('--proc', "$Dir/none");
my $doctor = sub {
    my ($rc, $out, $err) = run_ctl('', @url, 'doctor', @proc, @_);
    is($rc, $out =~ /^nothing was found$/ ? 0 : 5, 'the code');
    return $out;
};

is($doctor->(), "nothing was found\n", 'all is well');
is($doctor->('--nginx', $nginx), "nothing was found\n", 'and so is the configuration');
my ($rc, undef, $err) = run_ctl('', '-u', 'http://127.0.0.1:' . http_port() . '/api/', 'doctor');
is("$rc $err", qq(1 vmessctl: the URL must be that of a location with "vmess_status", see vmessctl --help\n), 'another URL');

for (1 .. 10) {
    flow(skew => 3000, port => 9, data => 'x' x 5000)->read_eof;
    my $s = tcp();
    put($s, "\x16\x03\x01" . 'x' x 5000);
    slurp($s);
}
my $said;
wait_for(sub { ($said = $doctor->()) =~ /TLS/ });
is($said, <<'END', 'what clients have sent');
10 clients were refused, their time is wrong by more than two minutes: set the clocks of clients, or of this server
10 unknown clients look like TLS: is there "ssl" in "listen"?
END

flow(skew => 60, to => 'echo', data => 'a')->read(1) for 1 .. 12;
like($doctor->(), qr/^clocks of 12 clients are more than 30 s ahead/m, 'clocks');

# a configuration and a log as they may be

system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
       . " -subj /CN=localhost -keyout $Dir/k.pem -out $Dir/soon.pem 2>/dev/null");
my $file = sub {
    my ($name, $text) = @_;
    open my $fh, '>', "$Dir/$name" or die $!;
    print $fh $text;
    close $fh;
    return "$Dir/$name";
};
$said = $doctor->('--nginx', "cat " . $file->('conf', <<"END") . '; true #');
nginx: [warn] "vmess" in server in /x:1 is odd
    ssl_certificate $Dir/soon.pem;
    ssl_certificate "/nowhere.pem";
END
like($said, qr/^nginx -t: nginx: \[warn\] "vmess" in server/m, 'a warning');
like($said, qr/^the certificate \Q$Dir\E\/soon\.pem ends soon .*GMT$/m, 'a certificate');
like($said, qr/^the certificate \/nowhere\.pem .*cannot read it$/m, 'one that is not there');
like($said, qr/^there is no "resolver".*\n"proxy_buffer_size" is/m, 'what is not there');
like($doctor->('--nginx', "cat " . $file->('bad', "nginx: [emerg] no\n") . '; false #'),
     qr/^nginx -t: nginx: \[emerg\] no$/m, 'one that is wrong');
like($doctor->('--nginx', 'false; false #'), qr/^"false; false # -T" has failed$/m, 'none at all');
like($doctor->('--log', $file->('log', "a 512 worker_connections are not enough\nb\n" x 3)),
     qr/^log: 3 times "a 512 worker_connections are not enough": raise worker_connections$/m, 'a log');
like($doctor->('--log', $file->('log', "bind() to 0.0.0.0:443 failed (98: Address already in use)\n")),
     qr/": another program has the port, see ss -lntup$/m, 'a port of another program');

# ports

my $free = stream_port() + 4;
my $busy = http_port();
$said = $doctor->('--nginx', "cat " . $file->('ports', <<"END") . '; true #');
    listen $free;
    listen *:$free backlog=10;
    listen 127.0.0.1:$busy reuseport;
    listen $free udp;
    listen unix:/x;
    listen [::]:$free;
END
is(join(' ', $said =~ /^nobody listens on (\S+): is nginx running, and was it reloaded\?$/mg),
   "127.0.0.1:$free [::1]:$free", 'ports that are not open');

# limits of the kernel and of workers

my ($worker) = children();
my $kernel = sub {
    my ($path, $text) = @_;
    my $dir = "$Dir/proc";
    mkdir $dir;
    $dir .= "/$_", mkdir $dir for (split m{/}, $path)[0 .. ($path =~ tr{/}{}) - 1];
    open my $fh, '>', "$Dir/proc/$path" or die "$path: $!";
    print $fh $text;
    close $fh;
};
@proc = ('--proc', "$Dir/proc");
$kernel->("$worker/limits", "Max open files 100000 100000 files\n");
unlike($doctor->(), qr/connections|kernel|files/, 'nothing is known');
$kernel->(@$_) for ['sys/net/core/somaxconn' => "4096\n"], ['sys/fs/file-nr' => "1000 0 100000\n"],
    ['sys/net/netfilter/nf_conntrack_count' => "10\n"], ['sys/net/netfilter/nf_conntrack_max' => "1000\n"],
    ['sys/net/ipv4/ip_local_port_range' => "32768 60999\n"],
    ['net/netstat' => "TcpExt: A ListenOverflows B\nTcpExt: 100 9 100\nIpExt: C\nIpExt: 1\n"],
    ['net/snmp' => "Udp: RcvbufErrors\nUdp: 100\nUdpLite: RcvbufErrors\nUdpLite: 0\n"];
unlike($doctor->(), qr/queue|files|tracked|ports|datagrams|somaxconn/, 'all is well');
$kernel->(@$_) for ["$worker/limits" => "Max open files 1 1 files\n"],
    ['sys/net/core/somaxconn' => "128\n"], ['sys/fs/file-nr' => "90000 0 100000\n"],
    ['sys/net/netfilter/nf_conntrack_count' => "900\n"],
    ['net/netstat' => "TcpExt: A ListenOverflows B\nTcpExt: 100 10 100\n"];
my @held = flow(to => 'echo', data => 'a');
is($held[0]->read(1), 'a', 'a flow');
$kernel->('sys/net/ipv4/ip_local_port_range' => "32768 32768\n");
ok(wait_for(sub { ($said = $doctor->()) =~ /may open 1 files.*1 local ports/s }), 'limits that are near')
    or diag($said);
like($said, qr/^worker $worker has \d+ connections and may open 1 files: see worker_rlimit_nofile$/m, 'files of a worker');
like($said, qr/^net\.core\.somaxconn is 128, .*4096$/m, 'a queue that is short');
like($said, qr/^10 connections came to a full queue .*"backlog=" in "listen"$/m, 'and was full');
like($said, qr/^90000 files .* 100000: raise fs\.file-max$/m, 'files');
like($said, qr/^900 connections are tracked, .*nf_conntrack_max$/m, 'connections');
like($said, qr/^1 flows are open, and there are 1 local ports: widen/m, 'ports');
unlike($said, qr/datagrams/, 'there is neither mKCP nor QUIC');
my $kcp = flow(via => VMess::KCP::connect(stream_port() + 2), to => 'echo', data => 'a');
is($kcp->read(1), 'a', 'a flow of mKCP');
like($doctor->(), qr/^100 datagrams came to a full buffer .*"rcvbuf=" in "listen"$/m, 'datagrams');

# workers that do not end

for (1 .. 3) {
    push @held, flow(to => 'echo', data => 'a');
    is($held[-1]->read(1), 'a', 'a flow');
    reload();
}
ok(wait_for(sub { $doctor->() =~ /^workers of 4 configurations are there: see worker_shutdown_timeout$/m }), 'old workers');
$_->close for @held, $kcp;

# a zone that is full

my $api = VMess::API->new(connect => sub { tcp(http_port()) }, base => '/api/');
my $n = 0;
while (1) {
    my $status = $api->request(PATCH => 'users', { users => [ map {
        { name => "user$n", id => sprintf('3a1f0a5e-0c55-4a6c-9a52-0e9b%08d', $n++) }
    } 1 .. 20 ] })->{status};
    next if $status == 200 && $n < 5000;
    is($status, 507, 'there is no room');
    last;
}
like($doctor->(), qr/^9\d % of the room for users is in use: give vmess_users a larger size$/m, 'is told');

like((run_ctl('', @url, 'doctor', @proc, '--log', "$Dir/nosuch"))[2], qr/nosuch: No such file/, 'or none');
--- stream_response: 1
--- may_alert

# docs/users.md: its configurations are accepted, its commands are run one after
# another, and do what it says.
#
# What is changed before: ports, addresses and files are our own, as in %subst
# below; "nginx" is the one under test with a prefix and a configuration.

use v5.20;
use strict;
use warnings;

use lib 't/lib';

use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64 qw(decode_base64);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use VMess;

my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
my $port = ($ENV{TEST_NGINX_STREAM_PORT} // 25300) + 4;
my $limit = 20 * ($ENV{TEST_VMESS_SCALE} || 1);

my $dir = tempdir('vmess-users-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
mkdir "$dir/$_" for qw(logs tmp bin files);

my (@pids, %flow);
my $owner = $$;
my $target = target('target');
my $other = target('other');
my $site = target('site');

my %subst = (
    '127.0.0.1:8443'          => "127.0.0.1:$other",
    '127.0.0.1:8081'          => '127.0.0.1:' . ($port + 1),
    '/run/ngx_vmess'          => "$dir/run",
    '/etc/nginx/api.htpasswd' => "$dir/api.htpasswd",
    '/usr/local/bin'          => "$dir/bin",
    'examples/vmessctl'       => getcwd() . '/examples/vmessctl',
);

my $text = text('docs/users.md');
my %block = map { $_ => [$text =~ /^```$_\n(.*?)^```/msg] } qw(nginx sh);
my %id = $text =~ /^    (\w+) +([0-9a-f-]{36})/mg;
my $uuid = qr/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

for my $kind (qw(nginx sh)) {
    for (@{ $block{$kind} }) {
        for my $old (keys %subst) { s/\Q$old\E/$subst{$old}/g }
    }
}

put("$dir/api.htpasswd", "me:{PLAIN}secret\n");
put("$dir/me", "me:secret\n");
put("$dir/bin/nginx", "#!/bin/sh\nexec $nginx -p $dir/ -c $dir/nginx.conf"
                      . " -e $dir/logs/error.log \"\$@\"\n");
chmod 0755, "$dir/bin/nginx";
$ENV{PATH} = "$dir/bin:$ENV{PATH}";
delete $ENV{VMESSCTL_URL};


# ---- a file, limits, classes

my ($file, $limits, $classes, @api) = @{ $block{nginx} };
my $state = pop @api;

conf($file);
start();
is(flow('alice')->read_all, 'target: hello', 'a user in a file');

conf($limits);
sh('nginx -s reload');
ok(wait_for(sub { flow('guest')->read_all eq 'target: hello' }), 'limits');
ok(refused('eve'), 'who is disabled is refused');

conf($classes, 'proxy_pass $way;');
run('nginx -s reload');
ok(wait_for(sub { flow('alice')->read_all eq 'other: hello' }), 'a class has its way');
is(flow('guest')->read_all, 'target: hello', 'others have theirs');


# ---- the API, and vmessctl

conf($classes, 'proxy_pass vmess_target;', @api);
sh('install -d');
ok(wait_for(sub { -S "$dir/run/api.sock" }), 'the socket is there');
is((stat "$dir/run")[2] & 077, 0, 'and nobody else gets at it');

sh('install -m');
like(sh('vmessctl list'), qr/^alice\tactive\t/m, 'the list');
my $tcp = 'http://127.0.0.1:' . ($port + 1) . '/api/';
like(run("vmessctl --url $tcp --user-file $dir/me list"), qr/^guest\tactive\t/m,
     'by TCP with a password');
unlike(run("vmessctl --url $tcp --user-file $dir/me show alice"), qr/$id{alice}/,
       'without ids');

like(sh('vmessctl del bob'), qr/^bob\t$uuid\nname\tbob\n(?:.*\n)*quota\t107374182400\n/,
     'a user comes');
is(run('vmessctl show bob 2>&1; echo $?'), 'vmessctl: bob: there is no user "bob"'
   . " in vmess_users \"main\"\n4\n", 'and goes');

my @links = sh('vmessctl link bob') =~ m{^vmess://(\S+)$}mg;
is(@links, 2, 'two links');
$id{bob} = decode_json(decode_base64($links[0]))->{id};
is(flow('bob')->read_all, 'target: hello', 'and the id lets in');


# ---- a thousand

sh('seq');
my %made = map { split /\t/ } split /\n/, text("$dir/files/users.tsv");
is(keys %made, 1000, 'a thousand');
%id = (%id, %made);
is(flow('user0001')->read_all, 'target: hello', 'one of them');

my ($counts) = $text =~ /^`(\{"added".*\})`/m;
is_deeply(decode_json(sh('users.tsv > users.json')), decode_json($counts),
          'all at once');
ok(refused('bob'), 'who was not in the list has gone');


# ---- watching, a new id, the end of flows

open_flow($_) for qw(user0001 user0002 user0003);
my $seen = sh('vmessctl top');
like($seen, qr/^user0001\t\d+\t\d+\t1\t10\t26$/m, 'top');
like($seen, qr/^user0001\tactive\t36\t53687091200\t/m, 'who has used most');
like($seen, qr/^user0009\t0\t0\t$/m, 'some fields of some');
like($seen, qr/^user0001\ttcp\ttcp\t127\.0\.0\.1\t\S+:\d+\t5\t13\t20\d\d-\S+Z$/m, 'a flow');

$id{old} = $id{user0001};
($id{user0001}) = decode_json(decode_base64(
    (sh('also=$old') =~ m{^vmess://(\S+)$}m)[0]))->{id};
isnt($id{user0001}, $id{old}, 'a new id');
is(flow($_)->read_all, 'target: hello', "the $_ one") for qw(user0001 old);
sh('also= until=');
ok(refused('old'), 'not any more');

like(sh('vmessctl token'), qr/^[\w-]{22}$/m, 'another token');

sh('vmessctl kick');
is($flow{$_}->read_eof, '', "the flow of $_ ends") for qw(user0001 user0002 user0003);
is(flow('user0001')->read_all, 'target: hello', 'kicked, and back');
ok(refused($_), "$_ is not") for qw(user0002 user0003);


# ---- a restart

conf($state, 'proxy_pass vmess_target;', @api);
run('nginx -s reload');
ok(wait_for(sub { -e "$dir/vmess.state/lock" }), 'there is a state');
run('vmessctl add erin quota=3g');
my $erin = run('vmessctl show erin');
stop();
start();
ok(wait_for(sub { run('vmessctl list | wc -l') == 1002 }), 'all users are there again');
is(run('vmessctl show erin'), $erin, 'as they were');
like(run('vmessctl show user0001'), qr/^used\t[1-9]/m, 'with their counters');
run('vmessctl del erin');


# ---- backup, a panel

sh('> backup.json');
is(@{ decode_json(text("$dir/files/backup.json"))->{users} }, 999, 'a backup');
run('vmessctl del user0004; vmessctl set user0005 quota=; vmessctl add dave');
is_deeply(decode_json(sh('@backup.json')),
          { added => 1, changed => 1, removed => 1, unchanged => 997 },
          'is brought back');

put("$dir/files/clients.json", encode_json({ clients => [
    { email => 'frank', id => $id{bob}, totalGB => 1 << 30, limitIp => 2,
      expiryTime => 2209000000123, enable => JSON::PP::true },
    { email => 'grace', id => $id{user0004} =~ tr/0-9a-f/1-9a-f0/r, totalGB => 0,
      expiryTime => 0, enable => JSON::PP::false },
    { email => 'heidi', id => $id{user0004} =~ tr/0-9a-f/2-9a-f01/r, totalGB => 0,
      expiryTime => -86400000, enable => JSON::PP::true }] }));
is(decode_json(sh('clients.json'))->{added}, 3, 'clients of a panel');
like(run('vmessctl list --fields name,status,quota,expires'),
     qr/^frank\tactive\t1073741824\t2040-01-01T03:06:40Z$/m, 'with limits');
like(run('vmessctl list --fields name,status,quota,expires'),
     qr/^grace\tdisabled\t\t$/m, 'and without');
like(run('vmessctl show heidi'), qr/^status\ton_hold\n(?:.*\n)*hold\t86400$/m,
     'and one who begins with the first flow');
$id{frank} = $id{bob};
like(run('vmessctl show frank'), qr/^max_ips\t2$/m, 'and a limit of addresses');
is(flow('frank')->read_all, 'target: hello', 'by the id of before');

is("@{ $block{sh} }", '', 'no command was left out');

stop();
is(join('', grep { /\[(?:alert|crit|emerg)\]/ } split /^/, text("$dir/logs/error.log")),
   '', 'without alerts');

done_testing();


END {
    if ($$ == $owner) {
        my $rc = $?;
        kill 'TERM', @pids;
        system "$dir/bin/nginx -s stop >/dev/null 2>&1" if -e "$dir/nginx.pid";
        $? = $rc;
    }
}


sub start {
    is(system("nginx >$dir/start.out 2>&1"), 0, 'it starts')
        or diag text("$dir/start.out");
}


sub stop {
    run('nginx -s quit');
    ok(wait_for(sub { !-e "$dir/nginx.pid" }), 'it ends');
}


# a configuration with blocks of the page, and how flows go on

sub conf {
    my ($users, $pass, @http) = @_;

    $pass //= 'proxy_pass vmess_target;';
    like($_, qr/^# in http \{ \}\n/, 'where it belongs') for @http;
    like($users, qr/^# in stream \{ \}\n/, 'where it belongs');

    my $load = join '', map { "load_module $_;\n" }
                        split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    my $temp = join '', map { "${_}_temp_path $dir/tmp/$_;\n" }
                        qw(client_body proxy fastcgi uwsgi scgi);

    put("$dir/nginx.conf", <<"END");
$load
user root;
pid $dir/nginx.pid;
error_log $dir/logs/error.log info;
worker_processes 2;
events { }
stream {
    $users
    server {
        listen 127.0.0.1:$port;
        vmess main;
        vmess_fallback 127.0.0.1:$site;
        vmess_allow 127.0.0.1 $target,$other;
        $pass
    }
}
http {
    access_log off;
    $temp
    @http
}
END
}


# the next block of commands, which has a text in it; returns what it prints

sub sh {
    my ($part) = @_;

    my $block = shift @{ $block{sh} } // '';
    like($block, qr/\Q$part\E/, "the commands with \"$part\"");

    $ENV{$1} = $2 while $block =~ /^export (\w+)=(\S+)$/mg;

    return run("set -e\n$block");
}


sub run {
    my ($script) = @_;

    put("$dir/script", $script);
    my $out = `cd $dir/files && sh $dir/script 2>$dir/errors`;
    is($? >> 8 || $? & 127, 0, $script =~ s/^set -e\n//r =~ s/\n.*//sr)
        or diag text("$dir/errors");

    return $out;
}


# a flow of a user, whose target answers and ends it

sub flow {
    my ($name) = @_;

    return vmess($name)->connect(tcp(), data => 'hello');
}


# whether the user is somebody unknown, who is shown the site

sub refused {
    my ($name) = @_;

    my $s = tcp();
    print $s vmess($name)->header;

    return (<$s> // '') =~ /^site: /;
}


# an id is of a second after the start, which "state" asks for

sub vmess {
    my ($name) = @_;

    return VMess->new(uuid => $id{$name}, host => '127.0.0.1', port => $target,
                      skew => 2);
}


sub tcp {
    my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port",
                                  Timeout => $limit) or die "connect: $!";
    return $s;
}


# one that stays open

sub open_flow {
    my ($name) = @_;

    $flow{$name} = vmess($name)->connect(tcp(), data => "stay\n");
    is($flow{$name}->read(13), 'target: stay!', "a flow of $name");
}


# a server of one sort: says its name before what it gets

sub target {
    my ($name) = @_;

    my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64)
        or die "listen: $!";

    my $pid = fork // die "fork: $!";

    if ($pid) {
        push @pids, $pid;
        return $l->sockport;
    }

    alarm 600;
    $SIG{CHLD} = 'IGNORE';

    while (my $c = $l->accept // $!{EINTR}) {
        next if !ref $c || fork;

        alarm 600;

        if (sysread $c, my $buf, 4096) {
            my $stays = $buf =~ s/^stay\n$/stay!/;
            syswrite $c, "$name: $buf";
            sysread $c, $buf, 1 if $stays;
        }

        POSIX::_exit(0);
    }

    POSIX::_exit(0);
}


sub wait_for {
    my ($ok) = @_;
    my $until = time + $limit;

    while (time < $until) {
        return 1 if eval { $ok->() };
        sleep 0.05;
    }

    return 0;
}


sub text {
    my ($file) = @_;

    open my $fh, '<', $file or return '';
    local $/;
    return <$fh> // '';
}


sub put {
    my ($file, $text) = @_;

    open my $fh, '>', $file or die "$file: $!";
    print $fh $text;
    close $fh or die "$file: $!";
}

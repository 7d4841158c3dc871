package VMess::Site;

# For tests of transports in http: a site with "vmess_pass" answers what is not
# VMess as one without it does.

use v5.20;
use strict;
use warnings;

use Exporter 'import';
use Test::More ();
use TestVMess ();
use VMess::HTTP2;

our @EXPORT = qw(h2 answer same halves);


# a connection to a server with HTTP/2: n => of %%PORT_n%%, tls => 1, further
# options as of VMess::HTTP2

sub h2 {
    my (%o) = @_;
    my $port = TestVMess::stream_port() + (delete $o{n} // 2);
    my $sock = delete $o{tls}
        ? TestVMess::tls(port => $port, SSL_alpn_protocols => ['h2'])
        : TestVMess::tcp($port);
    return VMess::HTTP2->new($sock, %o);
}


# configuration: a server, first without its "vmess_pass", then with it and at
# the next ports

sub twice {
    my ($ours) = @_;
    my $site = $ours =~ s/\s+vmess_pass [^;]+;//gr;
    $ours =~ s/listen \S+PORT_\K(\d)/$1 + 1/ge;
    return "server {\n$site}\nserver {\n$ours}\n";
}


# the response to a request, but its Date, and all of its body, as text

sub answer {
    my ($s) = @_;
    my %h = %{ $s->headers };
    my $body = $s->rest;
    my %t = $s->can('trailers') ? %{ $s->trailers } : ();
    delete $h{date};
    s/:\d+\b//g for values %h;
    return join "\n", (map { "$_: $h{$_}" } sort keys %h), '', $body,
                      (map { "$_: $t{$_}" } sort keys %t),
                      $s->ended ? 'end' : 'cut';
}


# The answers to a request at both connections are the same; the code gets a
# connection and options, and makes the request, whose body is in pieces, the
# last of which ends it.  Returns the status.

sub same {
    my ($name, $c, $request, @piece) = @_;

    my ($site, $ours) = map {
        my $s = $request->($_, data => $piece[0], end => @piece < 2);
        $s->send($piece[$_], end => $_ == $#piece) for 1 .. $#piece;
        answer($s);
    } @$c;

    Test::More::is($ours, $site, $name);
    return $site =~ /^:status: (\d+)/m ? $1 : 'none';
}


# what is authentic by half: pairs of a name and bytes

sub halves {
    my @case = (['time', skew => -3600], ['tag', bad => 'tag'],
                ['length tag', bad => 'ltag'], ['check sum', bad => 'crc'],
                ['header', fnv => 1]);
    return map { my ($name, @o) = @$_;
                 [ $name, TestVMess::vmess(@o)->header . 'x' x 70_000 ] } @case;
}


1;

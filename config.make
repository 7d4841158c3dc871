
# the page of vmess_status, as C strings

vmess_page=$ngx_addon_dir/src/http/page

cat << END                                                    >> $NGX_MAKEFILE

$NGX_OBJS/addon/http/ngx_http_vmess_status_page.o: \\
		$NGX_OBJS/ngx_http_vmess_status_page_text.h

$NGX_OBJS/ngx_http_vmess_status_page_text.h: \\
		$vmess_page/quote $vmess_page/page.html \\
		$vmess_page/page.css $vmess_page/page.js
	sh $vmess_page/quote > \$@

END

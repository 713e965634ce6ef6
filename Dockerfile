# apitap for `docker run --network host --cap-drop ALL --cap-add NET_RAW apitap watch -i eth1`.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libpcap-dev gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /apitap
COPY . .
RUN packaging/build-release && strip target/release/apitap

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libpcap0.8 ca-certificates libcap2-bin \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --home-dir /var/lib/apitap --shell /usr/sbin/nologin apitap \
 && install -d -o apitap -g apitap -m 0700 /var/lib/apitap \
 && install -d -o apitap -g apitap -m 0750 /var/log/apitap
COPY --from=build /apitap/target/release/apitap /usr/bin/apitap
# An ordinary user gets the right to capture from the file; it needs --cap-add NET_RAW, and no `no-new-privileges`.
RUN setcap cap_net_raw+ep /usr/bin/apitap
USER apitap
ENV APITAP_STATE=/var/lib/apitap
VOLUME /var/lib/apitap
ENTRYPOINT ["/usr/bin/apitap"]
CMD ["--help"]

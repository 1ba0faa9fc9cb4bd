FROM base:1
ENTRYPOINT []
COPY ["application.sh", "/build/"]
RUN ["sh", "/build/application.sh", "app", "10001", "-"]

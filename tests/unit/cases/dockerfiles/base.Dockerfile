FROM base:1
ENTRYPOINT []
COPY ["application_system.sh", "/build/"]
RUN ["sh", "/build/application_system.sh", "app", "10001", "http://debian.example/", "gcc", "git"]
